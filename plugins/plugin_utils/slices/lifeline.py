# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""No slice outlives its runner: each holds the reading end of a pipe whose other end only the runner has."""

from __future__ import annotations

import os
import signal
import time

# Between two tasks ansible-core may take an interrupt for something else, and go on; so it is repeated.
AGAIN_S = 5.0
# It ends its workers within seconds. One that still lives after a minute hangs.
MOST = 12


def follow(handle: int, pid: int) -> None:
    """Wait until the runner has ended, then interrupt the slice's process until it ends."""
    while os.read(handle, 1):
        pass
    for _time in range(MOST):
        os.kill(pid, signal.SIGINT)
        time.sleep(AGAIN_S)
    os.kill(pid, signal.SIGKILL)
