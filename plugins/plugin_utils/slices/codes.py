# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Exit codes of the parts of a run as one, as ansible-playbook would end."""

from __future__ import annotations

from collections.abc import Iterable

# ansible-core's: bits up to here (failed hosts 2, unreachable hosts 4, a play broken off 8), whole numbers above.
BITS = 15
INTERRUPTED = 99
ERROR = 1
FAILED = 2


def joined(found: Iterable[int]) -> int:
    """Return the exit code of the whole: bits are joined, and what is none of them wins.

    A process that a signal has ended, which Python shows as a negative number, is an error.
    """
    whole = [code if code >= 0 else 250 for code in found]
    high = [code for code in whole if code > BITS]
    if high:
        return INTERRUPTED if INTERRUPTED in high else max(high)
    bits = 0
    for code in whole:
        bits |= code
    return bits
