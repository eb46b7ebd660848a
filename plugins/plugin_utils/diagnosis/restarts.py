# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Servers that started again between the samples: two processes have no counters in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .reading import at, listed, mapping

Tree = Mapping[str, Any]
WHY = "it restarted between the samples"
# What counts from the start of a process or of its unit.
_COUNTED = ("metrics", "cgroup", "tasks")


def restarted(evidence: Tree) -> frozenset[str]:
    """Return the instances that are another process in the last sample than in the first one."""
    samples = [mapping(mapping(each).get("instances")) for each in listed(evidence.get("samples"))]
    if len(samples) < 2:
        return frozenset()
    both = samples[0].keys() & samples[-1].keys()
    return frozenset(
        name for name in both if _is_another(*(at(each, name, "process") for each in (samples[0], samples[-1])))
    )


def _is_another(before: Any, after: Any) -> bool:
    one, other = mapping(before), mapping(after)
    # One that was not read may be the same.
    return bool(one and other) and (one.get("pid"), one.get("started")) != (other.get("pid"), other.get("started"))


def without_earlier_counts(evidence: Tree, names: Collection[str]) -> Tree:
    """Return the evidence without what earlier processes of these instances had counted."""
    if not names:
        return evidence
    first, *others = listed(evidence["samples"])
    kept = {name: _bare(each) if name in names else each for name, each in first["instances"].items()}
    return {**evidence, "samples": [{**first, "instances": kept}, *others]}


def _bare(sample: Any) -> Tree:
    return {**mapping(sample), **dict.fromkeys(_COUNTED)}
