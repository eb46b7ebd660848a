# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance runs on other CPUs than the plan says."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...instance import Instance, cpus_of
from ...reading import listed
from ...verdicts import cleared, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs and has CPUs by its plan."""
    return [_judged(each) for each in case.running if each.cpus]


def _judged(instance: Instance) -> Judged:
    allowed = instance.cpus_allowed
    if not allowed:
        return unknown("the CPUs that its process may use could not be read", instance.name)
    planned, now = cpu_list.format(instance.cpus), cpu_list.format(allowed)
    threads = [cpus_of(each) for each in listed(instance.evidence.get("cpus_of_threads"))]
    strays = [cpu_list.format(each) for each in threads if each and not each <= instance.cpus]
    proofs = (
        proof("/proc/PID/status, cpuset.cpus.effective", f"CPUs {now}", f"CPUs {planned}"),
        proof("/proc/PID/task/*/status", ", ".join(strays[:4]) or "all threads within", f"within {planned}"),
    )
    if allowed == instance.cpus and not strays:
        return cleared("It may use exactly the planned CPUs.", *proofs, instance=instance.name)
    lost = 1 - len(allowed & instance.cpus) / len(instance.cpus)
    used = instance.cores_used
    crowded = used is not None and used > 0.7 * len(allowed)
    return Judged(
        "cause" if lost and crowded else "contributor",
        0.95,
        proofs,
        "The live value differs from the plan in force; fewer busy CPUs are a cause.",
        instance.name,
        share=lost if crowded else lost / 2,
    )


FAULT = Fault(
    id="cpu.drift",
    title="The server runs on other CPUs than planned",
    layer="resources",
    observable="Cpus_allowed_list and the effective cpuset differ from the plan",
    remedy=Remedy(
        "Apply the plan again: the role compares slices and live values, and gives every CPU back its place.",
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/systemd/systemd/issues/43846",),
    judge=judge,
)
