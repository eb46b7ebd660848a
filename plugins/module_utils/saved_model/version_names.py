# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which names in a base path are versions for the server, and of which number."""

from __future__ import annotations

import re

# The server reads versions into a signed 64-bit integer and passes over names that do not fit (absl::SimpleAtoi).
MAX_VERSION = 2**63 - 1
# SimpleAtoi allows ASCII's white space around a number, a sign, and any number of zeros before it.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*\+?0*([0-9]{1,19})[ \t\n\v\f\r]*", re.ASCII)


def number(name: str) -> int | None:
    """Return the version that a directory of this name is; None for a name that is no version.

    Numbers below 0 are left out, though the server has them: they are never intended, and none is served while others
    exist.
    """
    match = _NUMBER.fullmatch(name)
    version = int(match[1]) if match else -1
    return version if 0 <= version <= MAX_VERSION else None
