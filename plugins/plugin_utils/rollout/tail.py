# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The slow calls: which ones count as slow, and how many of them say that a tail has grown.

A call is slow if it was answered later than an edge, or not at all: the latencies of successes alone make a failing
version look fast. The edge is fixed before the calls that are counted come: ``slow_share_over``, or else the p99 of the
control until ``min_healthy_time`` of the first step was over. Then the slow calls of both arms are compared like errors
(``sequential``). The p99 of the same calls must not be the edge: it varies as much as what it is compared with, and
counting 1,000 calls beyond the p99 of 1,000 others is wrong in 5 % of all cases where the table below says 1 %
(measured, docs/rollout-statistics.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.calls import OLD, Latencies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..measure.statistics import PERCENTILES, binomial, percentiles

# What of all calls is slower than p99.
SHARE = 1 - PERCENTILES["p99"]
# How much larger a share of slow calls is too large. A tail four times as thick, as with errors, would be found with
# fewer calls, and is a disaster already: p99 becomes p96.
RATIO = 2.0
LONGEST_NAME = 80


def edge(control: Histogram, missing: int = 0) -> tuple[float | None, str]:
    """Return the control's p99 in seconds, or None and the reason why it cannot be stated.

    :param missing: calls of the control without an answer.
    """
    found = percentiles(control, missing, ["p99"])
    return (found.found["p99"].us / 1e6, "") if "p99" in found.found else (None, found.withheld["p99"])


def measured(gateways: Mapping[str, Any], old: int) -> tuple[float | None, str]:
    """Return the edge in seconds out of what gateways have counted, or None; and in words where it comes from, or why.

    It is the control's p99 once the control has had enough calls. Its share may be small; until then it is the p99 of
    all calls of the old version: an edge that is a little off costs power, not false alarms, since both arms are
    measured by it. HAProxy writes whole milliseconds, so the edge is one.

    :param gateways: answers of the module gateway_calls.
    :param old: the version in force, for the sentence.
    """
    found = {arm: Latencies() for arm in OLD}
    for name, answer in gateways.items():
        try:
            for arm in OLD if answer is not None else ():
                found[arm].add(Latencies.from_json(answer["latencies"][arm]))
        except (ValueError, KeyError, TypeError):
            return None, f"gateway {told(name, LONGEST_NAME)} has no latencies that can be used"
    control, all_old = found["control"], Latencies()
    for each in found.values():
        all_old.add(each)
    why = ""
    for whose, seen in (("the control's", control), (f"version {old}'s", all_old)):
        seconds, why = edge(seen.answered, seen.missing)
        if seconds is not None:
            milliseconds, calls = max(round(seconds * 1000), 1), seen.answered.total + seen.missing
            said = f"calls above {milliseconds:,} ms count as slow: {whose} p99 of {calls:,} calls"
            return milliseconds / 1000, said
    return None, why


@lru_cache(1024)
def threshold(calls: int, share: float = SHARE, alpha: float = 0.01) -> int:
    """Return the least number of slow calls that happens by chance with a probability of at most alpha, in one look.

    Exact, and only for an edge of which the share of slow calls is known: 9 of 300 calls, 19 of 1,000, 44 of 3,000.
    """
    first, below = binomial(calls, share)
    return first + next(at for at, part in enumerate(below) if 1 - part <= alpha) + 1


def power(calls: int, times: float, share: float = SHARE, alpha: float = 0.01) -> float:
    """Return the probability that a share of slow calls, grown by a factor, reaches the threshold."""
    grown = min(share * times, 1 - math.ulp(1.0))
    first, below = binomial(calls, grown)
    place = threshold(calls, share, alpha) - 1 - first
    return 1.0 if place < 0 else 1 - below[min(place, len(below) - 1)]
