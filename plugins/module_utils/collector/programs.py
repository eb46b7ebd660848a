# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs that the collector asks, each limited in time and in what it may print."""

from __future__ import annotations

import os
import subprocess

from ..host.run import EndlessError, finished

SECONDS = 3.0
MOST_BYTES = 1 << 20


class ProgramError(RuntimeError):
    """A program that could not be asked; one sentence."""


def run(arguments: list[str], data: bytes = b"", seconds: float = SECONDS, most: int = MOST_BYTES) -> tuple[int, str]:
    """Return a program's exit status and output; what it says on standard error goes to nobody.

    Raises ProgramError if it is missing, slow or prints more than ``most`` bytes. ``data`` for its standard input has
    to fit into a pipe.
    """
    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # no AnsibleModule is here
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/nonexistent"},
        )  # fmt: skip
    except OSError as error:
        raise ProgramError(f"{arguments[0]} could not be started ({error.strerror})") from error
    try:
        status, (output,) = finished(process, seconds, most, data=data)
    except EndlessError:
        raise ProgramError(f"{arguments[0]} printed more than {most >> 10} KiB") from None
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{arguments[0]} did not answer within {seconds:g} s") from error
    return status, output
