# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a cell of nvidia-smi's answers says: a value, or why there is none.

In place of a value nvidia-smi prints, in brackets, the words of the error that the driver's library gave it
(nvmlErrorString in nvml.h), or "N/A" for what a GPU does not have.
"""

from __future__ import annotations

from typing import NamedTuple

LACKING = "lacking"
"""This GPU has no such thing, or has it no longer: no worry, and no health either."""
FORBIDDEN = "forbidden"
"""The caller may not ask."""
FAILED = "failed"
"""The driver tried, and could not tell."""
NEEDS_RESET = "needs_reset"
"""The GPU waits for a reset and answers no more."""
LOST = "lost"
"""The GPU no longer answers on the bus."""
NOT_ASKED = "not_asked"
"""This branch of the driver does not know the question."""

# By the beginning of the words, in small letters; everything else that stands in brackets has failed.
_WORDS = {
    "n/a": LACKING,
    "not available": LACKING,
    "not supported": LACKING,
    "function not found": LACKING,
    "requested functionality has been deprecated": LACKING,
    "vgpu ecc not supported": LACKING,
    "no data": LACKING,
    "insufficient permissions": FORBIDDEN,
    "the operating system has blocked the request": FORBIDDEN,
    "gpu access blocked by the operating system": FORBIDDEN,
    "gpu requires reset": NEEDS_RESET,
    "gpu is lost": LOST,
    "gpu not found": LOST,
    "unknown error": FAILED,
    "err!": FAILED,
}


# The longest names of GPUs have 60 characters; what is longer, or acts on a terminal, is no answer of the driver's.
LONGEST = 200


class Cell(NamedTuple):
    """A cell's value, or None and the word above that says why."""

    value: str | None
    absence: str = ""


def read(text: str) -> Cell:
    """Return what a cell says."""
    text = text.strip()
    if len(text) > LONGEST or not text.isprintable():
        return Cell(None, FAILED)
    bracketed = text.startswith("[") and text.endswith("]")
    words = text.strip("[]").strip().lower()
    if not words:
        return Cell(None, LACKING)
    absence = next((absence for beginning, absence in _WORDS.items() if words.startswith(beginning)), "")
    if absence or bracketed:
        return Cell(None, absence or FAILED)
    return Cell(text)


def number(text: str | None) -> float | None:
    """Return a value as a number, with the decimal comma of hosts that speak so; None where there is none."""
    try:
        value = float((text or "").replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
