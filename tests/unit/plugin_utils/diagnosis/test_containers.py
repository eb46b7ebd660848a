# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host that is a container: its clock, its GPUs' processes and its neighbours are its machine's, and out of sight."""

from __future__ import annotations

import evidence_cases as hosts
import fault_cases
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.diagnosis import diagnosed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from resource_faults import gpu, slow

FAULTS = {fault.id: fault for fault in faults()}
LOOSE = {"synchronised": False, "offset_ms": 0.0}


def verdicts(fault, evidence):
    return {each.verdict for each in FAULTS[fault].judge(Case(evidence))}


@pytest.mark.parametrize(
    ("virtual", "clock", "verdict"),
    [
        ("docker", LOOSE, "unknown"),
        ("podman", {"synchronised": False, "offset_ms": 70.0}, "unknown"),
        ("docker", {"synchronised": False, "offset_ms": 90_000.0}, "cause"),
        ("docker", {"synchronised": True, "offset_ms": 0.1}, "cleared"),
        ("kvm", LOOSE, "suspect"),
        (None, LOOSE, "suspect"),
    ],
)
def test_a_container_does_not_keep_the_time(virtual, clock, verdict):
    assert verdicts("clock.skew", hosts.put(hosts.healthy(virtual=virtual), "facts/clock", clock)) == {verdict}


def test_a_healthy_container_ends_without_findings():
    evidence = hosts.put(hosts.healthy(virtual="docker"), "facts/clock", LOOSE)
    evidence = hosts.put(hosts.put(evidence, "gpus/0/processes", []), "gpus/1/processes", [])
    document = diagnosed({"a1": evidence})
    assert (document["findings"], document["exit"]) == ([], 0)
    hidden = {each["id"] for each in document["not_checked"] if "does not see which processes" in each["why"]}
    assert hidden == {"gpu.unused", "gpu.foreign", "model.cpu_ops"}


def test_processes_by_the_machine_s_numbers_are_no_strangers():
    assert verdicts("gpu.foreign", hosts.healthy(virtual="docker")) == {"cleared"}
    evidence = {**gpu(processes=[{"pid": 777_000, "memory_mb": 8_900}]), "virtual": "docker"}
    evidence = hosts.put(evidence, "gpus/1/processes", [])
    assert verdicts("gpu.foreign", evidence) == {"unknown"}
    assert "cause" in verdicts("gpu.unused", {**gpu(processes=[]), "virtual": None})


def test_what_cuda_itself_says_counts_in_a_container_too():
    evidence = hosts.put({**gpu(processes=[]), "virtual": "docker"}, "gpus/1/processes", [])
    evidence = fault_cases.logged(evidence, "ranker", "failed call to cuInit: CUDA_ERROR_UNKNOWN")
    assert "cause" in verdicts("gpu.unused", evidence)


@pytest.mark.parametrize(("virtual", "verdict"), [("docker", "unknown"), (None, "cleared")])
def test_a_container_that_waits_for_cpus_does_not_see_for_whom(virtual, verdict):
    assert verdict in verdicts("cpu.neighbour", {**slow(hosts.healthy()), "virtual": virtual})
