# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a benchmark: what the host told meanwhile, the comparison with an earlier run, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import events

from ..measure import comparison, conditions, series, validity
from . import in_turns
from .document import Document
from .progress_line import rate
from .repeat import stages as repeated
from .sharding import ALONE

Sample = Mapping[str, Any]

# A second in which so large a share of the requests failed is an event of its own on the timeline.
BURST = 0.1


def finished(
    document: dict[str, Any],
    samples: Sequence[Sample],
    before: Document | None,
    against: str,
    despite: bool,
    of_other: Sequence[Sample] = (),
) -> dict[str, Any]:
    """Return a document with all that is known when the load has ended.

    :param samples: those of host_samples; ``of_other`` are those of the other instance, which was measured in turns.
    :param before: the run to compare with; ``against`` is its name.
    :param despite: whether runs under different conditions are compared all the same.
    """
    by_side = {"A": samples, "B": of_other}
    stages = [_with_host(stage, by_side[stage.get("side", "A")]) for stage in document["stages"]]
    done = {
        **document,
        "stages": stages,
        "host_samples": [dict(sample) for sample in samples],
        "events": [*events.events(samples), *(burst for stage in stages for burst in _bursts(stage))],
    }
    if document.get("other"):
        done["other"] = {**document["other"], "host_samples": [dict(sample) for sample in of_other]}
        done["events"] += [{**event, "text": f"B: {event['text']}"} for event in events.events(of_other)]
        return in_turns.finished(done, by_side)
    deciding = _deciding(done)
    is_valid = bool(deciding) and all(stage["verdict"] != "invalid" for stage in deciding)
    done["verdict"] = "valid" if is_valid else "invalid"
    if before is not None:
        done["comparison"] = compared(before, done, against, despite)
    return done


def _with_host(stage: Mapping[str, Any], samples: Sequence[Sample]) -> dict[str, Any]:
    """Return a stage with what the host told while it ran; a host that disturbed it makes it invalid."""
    result = stage["result"]
    begin = result["began"] + result["warmup_s"]
    end = begin + result["duration_s"]
    during = [sample for sample in samples if begin <= sample["at"] <= end]
    host = events.figures(samples, begin, end)
    found = validity.of_host(host, during, result["duration_s"])
    texts = [remark.text for remark in found]
    invalid = [remark.text for remark in found if remark.invalidates]
    verdict = {"verdict": "invalid", "why": "; ".join(invalid)} if invalid else {}
    return {**stage, "host": dict(host), "remarks": [*stage["remarks"], *texts], **verdict}


def _bursts(stage: Mapping[str, Any]) -> list[dict[str, Any]]:
    began = stage["result"]["began"]
    return [
        {
            "at": began + second["t"],
            "kind": "error burst",
            "text": f"{second['errors']:,} of {second['offered']:,} requests of a second failed",
        }
        for second in stage["result"]["seconds"]
        if second["errors"] > BURST * second["offered"]
    ]


def _deciding(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the stages that a document's figures rest on."""
    if document["kind"] == "knee":
        return [stage for stage in document["stages"] if stage["name"].startswith("confirm")]
    return [stage for stage in document["stages"] if not stage["name"].endswith(ALONE)]


def compared(before: Document, after: Mapping[str, Any], against: str, despite: bool) -> dict[str, Any]:
    """Return the comparison of a run with an earlier one."""
    earlier, now = repeated(before), after["stages"][-1:]
    found = [*conditions.differences(before, after), *_rates(earlier, now)]
    head = {
        "against": against,
        "same_plan": conditions.same_plan(before, after),
        "differences": [difference.text for difference in found],
    }
    reason = _unfit(now) or _unlike(found, despite)
    if reason:
        return {**head, **comparison.Comparison("not comparable", reason).to_json()}
    sides = [[series.seconds(stage["result"]) for stage in side] for side in (earlier, now)]
    return {**head, **comparison.compare(*sides, interleaved=False).to_json()}


def _unfit(now: Sequence[Mapping[str, Any]]) -> str:
    """Return why a run has nothing to compare, or an empty text."""
    if not now:
        return "this run was interrupted before it measured anything"
    return f"this run is invalid: {now[0]['why']}" if now[0]["verdict"] == "invalid" else ""


def _unlike(found: list[conditions.Difference], despite: bool) -> str:
    """Return why runs under different conditions are not compared, or an empty text."""
    refusal = "" if despite else conditions.refusal(found)
    return refusal and f"{refusal}; compare all the same with -e despite_differences=true"


def _rates(earlier: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[conditions.Difference]:
    for stage in now:
        if not math.isclose(stage["rate"], earlier[0]["rate"]):
            yield conditions.Difference(f"the rate: {rate(earlier[0]['rate'])} before, {rate(stage['rate'])} now")
