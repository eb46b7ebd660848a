# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Ports of loopback where nobody listens, until a test does."""

from __future__ import annotations

import socket
from collections import deque

# Ports that stay bound: the last ones, more than any test uses.
_HELD: deque[socket.socket] = deque(maxlen=100)


def free_port() -> int:
    """Return a port that refuses calls, is given to nobody else, and where a server of this test may listen.

    It stays bound by a socket that does not listen. Whoever shares it has to say so, as servers do: by SO_REUSEADDR, or
    by SO_REUSEPORT as grpc does.
    """
    held = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        held.setsockopt(socket.SOL_SOCKET, option, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])
