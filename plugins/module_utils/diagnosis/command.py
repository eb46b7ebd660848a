# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs of the host, limited in time and output."""

from __future__ import annotations

import os
import subprocess
from typing import Callable, Optional

# Some thousand lines of a journal.
MOST_CHARACTERS = 4 << 20
SECONDS = 3.0

# Arguments in, standard output out; None if the program is not there. Raises RuntimeError if it fails.
Ask = Callable[[list[str]], Optional[str]]


def ask(arguments: list[str]) -> str | None:
    """Return what a program prints. Raises RuntimeError if it fails, TimeoutExpired if it hangs."""
    try:
        # Not run_command, which limits no time.
        ended = subprocess.run(  # pylint: disable=ansible-bad-function
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    if ended.returncode != 0:
        words = " ".join(ended.stderr.decode("utf-8", "replace").split())
        raise RuntimeError(f"{arguments[0]} ended with code {ended.returncode}: {words or 'no message'}")
    return ended.stdout.decode("utf-8", "replace")[:MOST_CHARACTERS]
