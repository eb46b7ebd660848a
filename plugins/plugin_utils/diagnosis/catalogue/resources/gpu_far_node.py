# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance's CPUs are on another socket than its GPU."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import gpu_label, nodes_of, of_gpus, on_gpus
from ...instance import Instance
from ...reading import listed, mapping, number, text
from ...verdicts import cleared, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each running instance that has GPUs by its plan, on a host with several nodes."""
    if len(mapping(case.fact("nodes"))) < 2:
        return []
    return [_judged(case, each) for each in on_gpus(case) if each.running is not False]


def _judged(case: Case, instance: Instance) -> Judged:
    nodes = {gpu_label(gpu): _node(case, gpu) for gpu in of_gpus(case, instance)}
    near = nodes_of(case, instance.cpus_allowed or instance.cpus)
    if not nodes or not near or None in nodes.values():
        return unknown("the nodes of its GPUs or its CPUs could not be read", instance.name)
    far = [name for name, node in nodes.items() if node not in near]
    evidence = proof(
        "numa_node of the device",
        ", ".join(f"{name} on node {node}" for name, node in nodes.items()),
        f"node {', '.join(sorted(near))}, where its CPUs are",
    )
    if not far:
        return cleared("Its CPUs are on the node of its GPUs.", evidence, instance=instance.name)
    test = "The nodes of devices and of CPUs are the firmware's; they were compared."
    return Judged("contributor", 0.85, (evidence,), test, instance.name, share=0.1)


def _node(case: Case, gpu: Mapping[str, object]) -> str | None:
    """Return the node of a GPU, by itself or by its device on the bus."""
    slot = text(gpu.get("pci")).lower()
    devices = map(mapping, listed(case.fact("pci")))
    beside = [each.get("node") for each in devices if slot and text(each.get("address")).lower() == slot]
    node = number(gpu.get("node")) if gpu.get("node") is not None else number(beside[0]) if beside else None
    return None if node is None or node < 0 else f"{node:.0f}"


FAULT = Fault(
    id="gpu.far_node",
    title="CPUs and GPU are on different sockets",
    layer="resources",
    observable="numa_node of the GPU is none of its CPUs' nodes",
    remedy=Remedy(
        "Let the planner place the instance: it gives CPUs of the GPU's node where there are enough.",
        "tfserving_instances[].cpus: auto",
        "low",
        restart=True,
    ),
    refs=("https://docs.kernel.org/admin-guide/mm/numaperf.html",),
    judge=judge,
)
