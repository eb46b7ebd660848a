# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a candidate's speed, memory and start, measured on the server itself in turns with the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import verdicts
from .verdicts import Row

# Less is not worth a new version: a roll-out, its risk, and a model that nobody trained.
LEAST_GAIN = 0.05
# The resident memory of a server varies by some per cent between starts; small models by some MB of pools.
MEMORY_TIMES, MEMORY_MB = 1.10, 64
# A start is a sum of reading, allocating and warming up, and scatters by a second or two.
LOAD_TIMES, LOAD_S = 1.5, 2.0


def rows(comparison: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """Return the rows of what was measured.

    :param comparison: the candidate over the original (measure.comparison.Comparison as JSON).
    :param before: of the original ``memory_mb`` and ``load_s`` by start; ``after`` those of the candidate.
    """
    return [
        gain(comparison),
        tail(comparison),
        _grown("memory", "MB resident", before["memory_mb"], after["memory_mb"], MEMORY_TIMES, MEMORY_MB),
        _grown("time to load", "s until it serves", before["load_s"], after["load_s"], LOAD_TIMES, LOAD_S),
    ]


def gain(comparison: Mapping[str, Any]) -> Row:
    """Return the row of the gain: how much sooner the usual call is answered, by the lower end of its interval."""
    ratio = comparison.get("p50_ratio")
    if not ratio:
        words = f"the speed was not measured: {comparison.get('reason') or 'no comparison'}"
        return Row("speed", verdicts.UNPROVEN, words, None, LEAST_GAIN)
    least, most = 1.0 - ratio["high"], 1.0 - ratio["low"]
    words = f"the usual call (p50) is answered {least:.1%} to {most:.1%} sooner; more than {LEAST_GAIN:.0%} needed"
    verdict = verdicts.UNPROVEN if most > LEAST_GAIN else verdicts.FAILED
    if ratio["high"] < 1.0 - LEAST_GAIN:
        verdict = verdicts.PASSED
    return Row("speed", verdict, words, least, LEAST_GAIN)


def tail(comparison: Mapping[str, Any]) -> Row:
    """Return the row of slow calls: those of the candidate must not be slower for certain, nor fail more often."""
    told = str(comparison.get("verdict") or "not comparable")
    words = f"slow calls (p99) are {told}: {comparison.get('reason', '')}"
    if told == "not comparable":
        return Row("slow calls", verdicts.UNPROVEN, words)
    errors = (comparison.get("errors_difference") or {}).get("low", 0.0)
    return verdicts.judged("slow calls", told in ("better", "no difference") and errors <= 0.0, words)


def _grown(check: str, unit: str, before: Sequence[float], after: Sequence[float], times: float, besides: float) -> Row:
    if not before or not after:
        return Row(check, verdicts.UNPROVEN, f"{check} was not measured")
    one, other = (sorted(held)[len(held) // 2] for held in (before, after))
    most = max(times * one, one + besides)
    words = f"{other:.4g} {unit} against {one:.4g}; {most:.4g} allowed"
    return verdicts.judged(check, other <= most, words, other, most)
