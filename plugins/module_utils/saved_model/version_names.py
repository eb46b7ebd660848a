# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Directory names in a base path that the server reads as versions, and their numbers."""

from __future__ import annotations

import re

# The server parses versions as signed 64-bit integers and ignores names that do not fit (absl::SimpleAtoi).
MAX_VERSION = 2**63 - 1
# SimpleAtoi allows ASCII white space around a number, a sign, and any number of leading zeros.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*\+?0*([0-9]{1,19})[ \t\n\v\f\r]*", re.ASCII)


def number(name: str) -> int | None:
    """Return the version number of a directory name, or None if it is not a version.

    Negative numbers are left out, though the server accepts them: they are never intended, and none is served while
    others exist.
    """
    match = _NUMBER.fullmatch(name)
    version = int(match[1]) if match else -1
    return version if 0 <= version <= MAX_VERSION else None
