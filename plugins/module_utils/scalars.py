# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Single values as people, templates and ``-e`` write them: numbers, booleans, texts."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from .errors import WishError, described, kind

# Whole numbers as people and templates write them. Some readers take leading zeros for octal.
DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,18}")
FRACTION = re.compile(r"(0|[1-9][0-9]{0,18})\.[0-9]{1,18}")
# Booleans as templates write them: YAML's words and Python's.
TRUTHS = {"true": True, "false": False, "True": True, "False": False}
LONGEST_LINE = 4096


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number. YAML's true and false, which Python counts as 1 and 0, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def decimal(value: Any) -> Any:
    """Convert plain decimal digits to a number; return anything else unchanged.

    ``-e version=2`` and templates with surrounding text always give text.
    """
    return int(value) if isinstance(value, str) and DECIMAL.fullmatch(value) else value


def fraction(value: Any) -> Any:
    """Convert plain decimal digits, with or without a decimal point, to a number; return anything else unchanged."""
    return float(value) if isinstance(value, str) and FRACTION.fullmatch(value) else decimal(value)


def truth(value: Any) -> Any:
    """Convert the text that a template or ``-e`` made of a boolean back; return anything else unchanged."""
    return TRUTHS.get(value, value) if isinstance(value, str) else value


def boolean(path: str, value: Any) -> bool:
    """Check a boolean, which may be the text that a template made of one."""
    found = truth(value)
    if isinstance(found, bool):
        return found
    raise WishError(path, f"is {described(value)}", "give true or false")


def one_line(path: str, value: Any) -> str:
    """Check a text without control characters. It may be a secret, so it is never shown."""
    if not isinstance(value, str) or not value.strip():
        raise WishError(
            path, f"is {kind(value)}" if not isinstance(value, str) else "is empty", "give a text on one line"
        )
    if any(unicodedata.category(sign) == "Cc" or sign in "\u2028\u2029" for sign in value):
        raise WishError(path, "holds a line break or another control character", "give a text on one line")
    if len(value.encode("utf-8", "surrogatepass")) > LONGEST_LINE:
        raise WishError(path, f"is longer than {LONGEST_LINE} bytes", "give a shorter text")
    return str(value)
