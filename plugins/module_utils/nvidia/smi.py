# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs nvidia-smi, limited in time and output, and describes failures in a sentence.

https://docs.nvidia.com/deploy/nvidia-smi/, "Return Value".
"""

from __future__ import annotations

import re
import subprocess

from ..host.run import EndlessError, bounded
from ..visible_text import told

# Sixteen GPUs with all their clocks take 200 KB.
MOST_BYTES = 4 << 20
MOST_SAID = 300

# The exit code for a damaged info ROM (serial numbers and error counts): a warning; all answers are complete.
_INFOROM_CORRUPTED = 14
# Codes that say nothing about GPUs: rejected queries (2, 3, 4, 13), and, as in a shell, a program that cannot be
# started (126) or lacks one of its own libraries (127).
_NOT_STARTED = 126
UNASKED = {2, 3, 4, 13, _NOT_STARTED, 127}

# The beginning of a GPU's row in an answer: its index and UUID, or the UUID alone; and of the lines of a list (-L).
ROW_BEGINS = re.compile(r"(\d+|\[[^\]]+\]), *(GPU-|\[)|GPU-[0-9A-Za-z-]+, ")
_LISTED = re.compile(r"GPU \d+: .*\(UUID: |MIG \S+ +Device +\d+: \(UUID: ")

# Branch 535, asked for --version, and branch 470, asked for compute_cap: neither concerns the GPUs.
_UNKNOWN_OPTION = re.compile(r"is not recognized|Invalid combination of input arguments")
_UNKNOWN_FIELD = re.compile(r'Field "(?P<field>[^"]+)" is not a valid field')


class NvidiaSmiError(RuntimeError):
    """nvidia-smi is installed and did not answer; the text says why, on one line. ``code`` is None if it gave none.

    ``said`` is everything it printed: if one GPU fails, it continues with the next, and fails at the end.
    """

    def __init__(self, message: str, code: int | None = None, said: str = "") -> None:
        super().__init__(told(message, MOST_SAID + 100))
        self.code = code
        self.said = said

    @property
    def unknown_field(self) -> str | None:
        """Return the field that this driver does not know, if that is its only complaint."""
        match = _UNKNOWN_FIELD.search(str(self))
        return match["field"] if match else None

    @property
    def unknown_option(self) -> bool:
        """Return whether this driver does not have the query."""
        return _UNKNOWN_OPTION.search(str(self)) is not None


def run(arguments: tuple[str, ...], timeout: float) -> str | None:
    """Run nvidia-smi and return its output, standard error last; None if it is not installed.

    Raises NvidiaSmiError if it fails, prints too much or takes more than ``timeout`` seconds.
    """
    asked = f"nvidia-smi {_question(arguments)}"
    try:
        ended = bounded(["nvidia-smi", *arguments], timeout, MOST_BYTES)
    except OSError as error:
        raise NvidiaSmiError(f"nvidia-smi could not be started: {error.strerror}", _NOT_STARTED) from None
    except EndlessError:
        raise NvidiaSmiError(f"{asked} printed more than {MOST_BYTES >> 20} MiB") from None
    except subprocess.TimeoutExpired:
        raise NvidiaSmiError(f"{asked} did not answer within {timeout:g} seconds") from None
    return interpreted(asked, *ended) if ended else None


def _question(arguments: tuple[str, ...]) -> str:
    """Return the query or setting, without the GPU that it is about and without values."""
    options = [argument.partition("=")[0] for argument in arguments]
    return next((option for option in options if option != "--id"), options[0])


def interpreted(asked: str, code: int, output: str, remarks: str) -> str:
    """Return the answer of a program that has ended. Raises NvidiaSmiError if it failed."""
    said = "".join(text if text.endswith("\n") else f"{text}\n" for text in (output, remarks) if text)
    if code == _INFOROM_CORRUPTED and "inforom" not in said.lower():
        said += "infoROM is corrupted (code 14)\n"
    if code in (0, _INFOROM_CORRUPTED):
        return said
    ended = f"failed with code {code}" if code >= 0 else f"was ended by signal {-code}"
    raise NvidiaSmiError(f"{asked} {ended}: {_complaint(said)[: MOST_SAID + 1]}", code, said)


def _complaint(said: str) -> str:
    """Return the cause on one line: it is on either stream, after warnings and the rows of GPUs that answered."""
    lines = [" ".join(line.split()) for line in said.splitlines()]
    lines = [line for line in lines if line and not ROW_BEGINS.match(line) and not _LISTED.match(line)]
    causes = [line for line in lines if not line.lower().startswith("warning:")]
    return " ".join(causes or lines) or "without a message"
