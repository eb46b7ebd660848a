# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a benchmark of two instances in turns: what each side gave, the comparison, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..measure import comparison, conditions, statistics, turns, validity
from ..measure.interleave import Side
from ..phrases import counted

SIDES = ("A", "B")
Stage = Mapping[str, Any]
Samples = Sequence[Mapping[str, Any]]


def finished(document: dict[str, Any], samples: Mapping[str, Samples]) -> dict[str, Any]:
    """Return a document with the verdict on it, what each side gave, and how they compare.

    :param samples: those of host_samples, by side.
    """
    names = of_sides(document)
    blocks = [(cast(Side, stage["side"].lower()), stage) for stage in document["stages"]]
    why = "; ".join(_changes(document, samples)) or turns.too_few(blocks)
    found = comparison.Comparison("not comparable", why) if why else turns.compared(blocks, names)
    a, b = _as_runs(document)
    head = {"against": names[1], "same_plan": conditions.same_plan(b, a), "differences": conditions.between(b, a)}
    # The reason of an invalid run stands first.
    said = [why] if why else list(_left_out(document, len(turns.pairs(blocks))))
    return {
        **document,
        "turns": [_row(document, side) for side in SIDES],
        "comparison": {**head, **found.to_json()},
        "verdict": "invalid" if why else "valid",
        "remarks": [*said, *document["remarks"]],
    }


def of_sides(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return what A and B are called: by their instances, and by their hosts where these differ."""
    one, other = document, document["other"]
    if one["host"] == other["host"]:
        return one["instance"], other["instance"]
    return f"{one['instance']} on {one['host']}", f"{other['instance']} on {other['host']}"


def stages_of(document: Mapping[str, Any], side: str) -> list[Any]:
    """Return the blocks of a side that have a result."""
    return [stage for stage in document["stages"] if stage.get("side") == side and stage["result"]]


def valid_of(document: Mapping[str, Any], side: str) -> list[Any]:
    """Return the valid blocks of a side."""
    return [stage for stage in stages_of(document, side) if stage["verdict"] != "invalid"]


def latencies(stages: Sequence[Stage]) -> Histogram:
    """Return the latencies of the answered requests of some stages."""
    whole = Histogram()
    for stage in stages:
        whole.add(Histogram.from_json(stage["result"]["histogram"]))
    return whole


def _changes(document: Mapping[str, Any], samples: Mapping[str, Samples]) -> Iterator[str]:
    """Yield what changed on a side between its first block and the last one: it was not one thing that was measured."""
    results = [stage["result"] for stage in document["stages"] if stage["result"]]
    if not results:
        return
    begin = min(result["began"] for result in results)
    end = max(result["began"] + result["warmup_s"] + result["duration_s"] for result in results)
    for side in SIDES:
        during = [sample for sample in samples[side] if begin <= sample["at"] <= end]
        found = validity.of_host({}, during, end - begin)
        yield from (f"{side}: {remark.text}" for remark in found if remark.invalidates)


def _left_out(document: Mapping[str, Any], pairs: int) -> Iterator[str]:
    """Yield which blocks a valid comparison does without."""
    bad = [stage["name"] for stage in document["stages"] if stage["verdict"] == "invalid"]
    if bad:
        yield f"invalid and left out with its neighbour: {', '.join(bad)}; {counted(pairs, 'pair')} were compared"


def _as_runs(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both sides as documents of their own, as far as their conditions go."""
    return (
        {**document, "stages": stages_of(document, "A")},
        {**document, **document["other"], "stages": stages_of(document, "B")},
    )


def _row(document: Mapping[str, Any], side: str) -> dict[str, Any]:
    """Return what a side gave in all of its valid blocks."""
    stages = valid_of(document, side)
    results = [stage["result"] for stage in stages]
    errors = sum(sum(result["errors"].values()) for result in results)
    whole = document if side == "A" else document["other"]
    return {
        "side": side,
        "instance": whole["instance"],
        "host": whole["host"],
        "blocks": len(stages),
        "duration_s": sum(result["duration_s"] for result in results),
        "offered": sum(result["offered"] for result in results),
        "ok": sum(result["ok"] for result in results),
        "errors": errors,
        "percentiles": statistics.percentiles(latencies(stages), errors).to_json(),
    }
