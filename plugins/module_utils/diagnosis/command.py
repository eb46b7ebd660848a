# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs of the host, limited in time and output."""

from __future__ import annotations

from typing import Callable, Optional

from ..host.run import bounded

MOST_BYTES = 4 << 20
SECONDS = 3.0

Ask = Callable[[list[str]], Optional[str]]
Ended = Optional[tuple[int, str, str]]


def ask(arguments: list[str]) -> str | None:
    """Return what a program prints, the last of it where that is too much: the newest lines of a log come last.

    Raises RuntimeError if it fails, TimeoutExpired if it hangs.
    """
    return interpreted(arguments[0], run(arguments))


def run(arguments: list[str], seconds: float = SECONDS) -> Ended:
    """Return status, output and remarks of a program, limited likewise; None if it is not installed."""
    return bounded(arguments, seconds, MOST_BYTES, ends=True)


def interpreted(program: str, ended: Ended) -> str | None:
    """Return what a program has printed. Raises RuntimeError if it failed."""
    if ended is None:
        return None
    status, output, remarks = ended
    if status != 0:
        raise RuntimeError(f"{program} ended with code {status}: {' '.join(remarks.split()) or 'no message'}")
    return output
