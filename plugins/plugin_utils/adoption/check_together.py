# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings on servers of one host that stand in each other's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..diagnosis.reading import listed, text
from .case import Case
from .check_place import host_ports
from .finding import Found, found

FRACTION = "per_process_gpu_memory_fraction"


def neighbours(cases: Sequence[Case]) -> Iterator[tuple[Case, Found]]:
    """Judge the servers of one host beside each other."""
    yield from _ports(cases)
    yield from _gpus(cases)


def _ports(cases: Sequence[Case]) -> Iterator[tuple[Case, Found]]:
    owners: dict[int, Case] = {}
    for case in cases:
        for port in host_ports(case).values():
            other = owners.setdefault(port, case)
            if other is not case:
                yield case, found("ports.shared", port=port, other=other.name)


def _gpus(cases: Sequence[Case]) -> Iterator[tuple[Case, Found]]:
    tenants: dict[str, list[Case]] = {}
    for case in cases:
        for gpu in listed(case.server.get("gpus")):
            tenants.setdefault(text(gpu), []).append(case)
    for gpu, sharing in tenants.items():
        if len(sharing) > 1:
            yield from _shares(gpu, sharing)


def _shares(gpu: str, sharing: Sequence[Case]) -> Iterator[tuple[Case, Found]]:
    total = sum(case.line[FRACTION] for case in sharing)
    if total > 1:
        others = ", ".join(case.name for case in sharing)
        yield sharing[-1], found("gpu.fractions", gpu=gpu, others=others, total=f"{total:g}")
    for case in sharing:
        if not case.line[FRACTION] and case.environment.get("TF_FORCE_GPU_ALLOW_GROWTH") != "true":
            others = ", ".join(each.name for each in sharing if each is not case)
            yield case, found("gpu.greedy", gpu=gpu, others=others)
