# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a trial takes so much memory that it has to end, before the kernel slows the server down or kills it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..planner.schema import Memory

# The plan's limit is where the kernel begins to take memory back (MemoryHigh), which spoils every latency; a stage
# later the server may be beyond it.
NEAR = 0.95
# With less than this the kernel begins to write out and to kill, whatever the limits of the instance are.
LEAST_FREE_MB = 256


def over(told: Mapping[str, Any], limits: Memory) -> str:
    """Return why a trial has to end, as a sentence, or an empty text.

    :param told: ``rss_mb`` and ``available_mb`` as the host has them; what it does not tell guards nothing.
    """
    used, left, high = told.get("rss_mb"), told.get("available_mb"), limits["high_mb"] or limits["max_mb"]
    if used is not None and high and used > NEAR * high:
        return f"its server took {used:,.0f} MB, and the plan limits it to {high:,} MB"
    if left is not None and left < LEAST_FREE_MB:
        return f"the host had {left:,.0f} MB of memory left, less than {LEAST_FREE_MB} MB"
    return ""
