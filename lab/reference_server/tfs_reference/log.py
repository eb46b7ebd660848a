# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Log lines on standard error in the shape of TensorFlow's own ("time: LEVEL file:line] text")."""

from __future__ import annotations

import datetime
import os
import sys


def info(message: str) -> None:
    _write("I", message)


def warning(message: str) -> None:
    _write("W", message)


def error(message: str) -> None:
    _write("E", message)


def fatal(message: str) -> None:
    """Write the line and abort, as a failed CHECK does upstream (SIGABRT)."""
    _write("F", message)
    sys.stdout.flush()
    os.abort()


def _write(level: str, message: str) -> None:
    caller = sys._getframe(2)
    place = f"{os.path.basename(os.path.dirname(__file__))}/{os.path.basename(caller.f_code.co_filename)}"
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")
    # One write call per line, so that lines of different threads never mix.
    sys.stderr.write(f"{now}: {level} {place}:{caller.f_lineno}] {message}\n")
    sys.stderr.flush()
