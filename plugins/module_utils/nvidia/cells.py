# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Cells of nvidia-smi's answers: a value, or the reason for its absence.

Instead of a value nvidia-smi prints, in brackets, the text of the error that the driver's library returned
(nvmlErrorString in nvml.h), or "N/A" for what a GPU does not have.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LACKING = "lacking"
"""This GPU does not have it, or no longer: neither a concern nor a sign of health."""
FORBIDDEN = "forbidden"
"""The caller is not permitted to ask."""
FAILED = "failed"
"""The driver tried and failed."""
NEEDS_RESET = "needs_reset"
"""The GPU is waiting for a reset and no longer answers."""
LOST = "lost"
"""The GPU no longer answers on the bus."""
NOT_ASKED = "not_asked"
"""This driver branch does not know the field."""
UNTOLD = (FORBIDDEN, FAILED)
"""The GPU has an answer, but it was not received."""

# By the beginning of the text, in lower case; any other text in brackets means failed.
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

# No number of a GPU has twenty digits.
_NUMBER = re.compile(r"(-?[0-9]{1,20}(?:[.,][0-9]{1,20})?)(?: ?(?:%|[A-Za-z]{1,3}))?")

# The longest GPU names have 60 characters; longer or unprintable text is not an answer of the driver.
LONGEST = 200


class Cell(NamedTuple):
    """A cell's value, or None and the reason, one of the words above."""

    value: str | None
    absence: str = ""


def read(text: str) -> Cell:
    """Parse a cell."""
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
    """Return a value as a number, or None if there is none.

    Some drivers write a decimal comma where the host's locale does, or a unit that was not requested ("250.00 W").
    """
    match = _NUMBER.fullmatch((text or "").strip())
    return float(match[1].replace(",", ".")) if match else None
