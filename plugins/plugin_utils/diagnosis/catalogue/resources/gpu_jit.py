# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The driver compiles the GPU's code at each start, because the build has none for this GPU."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import on_gpus
from ...instance import Instance
from ...reading import listed, mapping
from ...verdicts import cleared, first_line, proof, unknown

LINES = (r"compiled from PTX", r"jit-compiled from PTX", r"not built with CUDA kernel binaries compatible")


def judge(case: Case) -> list[Judged]:
    """Judge each instance that has GPUs by its plan."""
    return [_judged(each) for each in on_gpus(case)]


def _judged(instance: Instance) -> Judged:
    if not listed(instance.evidence.get("log")):
        return unknown("its log could not be read", instance.name)
    lines, cache = instance.log(*LINES), mapping(instance.evidence.get("cuda_cache"))
    age = instance.process("age_s")
    proofs = (
        proof("journal", first_line(lines), "no line about PTX"),
        proof("cache of compiled code", _told(cache), "a directory that stays"),
    )
    if not lines:
        return cleared("The build has code for its GPU.", *proofs, instance=instance.name)
    starting = instance.requests_per_s in (None, 0.0) and (age is None or age < 3600)
    return Judged(
        "cause" if starting or cache.get("exists") is False else "contributor",
        0.85,
        proofs,
        "The server says so itself. With a cache that stays, only the first start is slow.",
        instance.name,
        impact=0.5 if starting else 0.2,
    )


def _told(cache: Mapping[str, object]) -> str:
    if not cache:
        return "unknown"
    return f"{cache.get('path')}, {'there' if cache.get('exists') else 'missing'}"


FAULT = Fault(
    id="gpu.jit",
    title="The driver compiles GPU code at each start",
    layer="resources",
    observable="lines about PTX, a long first load, no cache directory",
    remedy=Remedy(
        "Use a build with code for this GPU; until then a start timeout that lasts, and the cache that the unit has.",
        "tfserving_images; tfserving_version",
        "medium",
        restart=True,
    ),
    refs=("tensorflow/serving#1663", "NVIDIA/TensorRT#4112"),
    judge=judge,
)
