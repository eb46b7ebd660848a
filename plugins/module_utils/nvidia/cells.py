# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a cell of nvidia-smi's answers says: a value, or why there is none.

In place of a value nvidia-smi prints, in brackets, the words of the error that the driver's library gave it
(nvmlErrorString in nvml.h), or "N/A" for what a GPU does not have.
"""

from __future__ import annotations

import re
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
UNTOLD = (FORBIDDEN, FAILED)
"""The GPU has an answer, but it was not received."""

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

# No figure of a GPU has twenty digits.
_NUMBER = re.compile(r"(-?[0-9]{1,20}(?:[.,][0-9]{1,20})?)(?: ?(?:%|[A-Za-z]{1,3}))?")

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
    """Return a value as a number, None where there is none.

    Some drivers write a decimal comma where the host does, or a unit ("250.00 W") that was not asked for.
    """
    match = _NUMBER.fullmatch((text or "").strip())
    return float(match[1].replace(",", ".")) if match else None
