# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance works with memory of the other socket."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import nodes_of
from ...instance import Instance
from ...reading import at, mapping, number
from ...verdicts import cleared, percent, proof, unknown

# Pages of another node that come from the page cache and from shared libraries.
USUAL = 0.1
# Memory of another socket takes about half as long again, for work that does nothing but read memory.
SLOWER = 0.35


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs, on a host with several nodes."""
    if len(mapping(case.fact("nodes"))) < 2:
        return []
    return [_judged(case, each) for each in case.running if _bound(each)]


def _bound(instance: Instance) -> bool:
    """Tell whether the plan wants the memory near its CPUs, rather than spread over all nodes."""
    return bool(instance.cpus) and at(instance.plan, "memory", "policy") != "interleave"


def _judged(case: Case, instance: Instance) -> Judged:
    pages = {node: number(each) or 0.0 for node, each in mapping(instance.evidence.get("numa_pages")).items()}
    near = nodes_of(case, instance.cpus)
    every = sum(pages.values())
    if not every or not near:
        return unknown("the nodes of its memory could not be read", instance.name)
    far = sum(each for node, each in pages.items() if node not in near) / every
    evidence = proof("/proc/PID/numa_maps", f"{percent(far)} of its memory on other nodes", "under 10 %")
    if far <= USUAL:
        return cleared("Its memory is on the nodes of its CPUs.", evidence, instance=instance.name)
    return Judged(
        "cause" if far > 0.5 else "contributor",
        0.8,
        (evidence, proof("plan", f"its CPUs are on node {', '.join(sorted(near))}", "memory there too")),
        "The pages were counted where they are, and compared with the nodes of its CPUs.",
        instance.name,
        share=far * SLOWER,
    )


FAULT = Fault(
    id="memory.remote",
    title="The server's memory is on another node",
    layer="resources",
    observable="numa_maps has pages on nodes that its CPUs are not on",
    remedy=Remedy(
        "Apply the plan, which binds it to its node, and restart it: pages that are there do not move by themselves.",
        "ansible-playbook playbooks/site.yml --limit HOST; systemctl restart tfserving@INSTANCE.service",
        "low",
        restart=True,
    ),
    refs=("https://docs.kernel.org/admin-guide/mm/numa_memory_policy.html",),
    judge=judge,
)
