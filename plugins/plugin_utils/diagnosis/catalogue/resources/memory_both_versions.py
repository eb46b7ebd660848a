# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Two versions of a model do not fit into memory side by side while one replaces the other."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy, Verdict
from ...hardware import oom_kills
from ...instance import Instance
from ...reading import at, listed, mapping, number, text
from ...verdicts import cleared, proof, unknown

LOADED = frozenset({"LOADING", "AVAILABLE", "UNLOADING"})
# What a version needs in memory, as a multiple of its size on disk, where the plan has no figure.
IN_MEMORY = 1.3


def judge(case: Case) -> list[Judged]:
    """Judge each instance with its models."""
    return [_judged(instance, name) for instance in case.instances for name in _models(instance)]


def _models(instance: Instance) -> list[str]:
    return list(mapping(instance.evidence.get("models"))) or [str(each) for each in listed(instance.plan.get("models"))]


def _judged(instance: Instance, model: str) -> Judged:
    versions, killed = _resident(instance, model), bool(oom_kills(instance))
    sizes = {version: _size(instance, model, version) for version in versions}
    if len(versions) < 2 and not killed:
        return cleared("One version at a time is in memory.", instance=instance.name, model=model)
    limit = number(at(instance.plan, "memory", "max_mb"))
    if limit is None or len(sizes) < 2 or any(each is None for each in sizes.values()):
        if len(versions) < 2:
            return cleared("One version at a time is in memory.", instance=instance.name, model=model)
        return unknown("the sizes of the versions or the limit of memory are not known", instance.name, model)
    need = sum(each or 0.0 for each in sizes.values()) * IN_MEMORY
    proofs = (
        proof("GetModelStatus", f"versions {', '.join(sorted(versions))} in memory at once", "one, if both do not fit"),
        proof("model files", f"about {need:.0f} MB for both", f"below the limit of {limit:.0f} MB"),
        proof("memory.events, journal", "ended for lack of memory" if killed else "not ended", "not ended"),
    )
    if need <= limit:
        return cleared("Both versions fit.", *proofs, instance=instance.name, model=model)
    verdict: Verdict = "cause" if killed else "contributor"
    test = "The sizes of both versions are above the limit of memory; one alone is below it."
    return Judged(verdict, 0.9, proofs, test, instance.name, model, impact=0.95 if verdict == "cause" else 0.3)


def _resident(instance: Instance, model: str) -> list[str]:
    """Return the versions in memory, or those that a process just ended was to load."""
    states = [mapping(each) for each in listed(at(instance.evidence, "models", model, "states"))]
    return [str(each.get("version")) for each in states if text(each.get("state")) in LOADED]


def _size(instance: Instance, model: str, version: str) -> float | None:
    return number(at(instance.evidence, "model_files", model, "versions", version, "size_mb"))


FAULT = Fault(
    id="memory.both_versions",
    title="Two versions do not fit into memory at once",
    layer="resources",
    observable="a process ended for lack of memory while two versions were in it",
    remedy=Remedy(
        "State what the model needs, so that the plan drains the host and swaps the versions one after the other.",
        "tfserving_models[].memory_mb",
        "medium",
        restart=True,
    ),
    refs=("tensorflow/serving#2017", "tensorflow/serving#1929"),
    judge=judge,
)
