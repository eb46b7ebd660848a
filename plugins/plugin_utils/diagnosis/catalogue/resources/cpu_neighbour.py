# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Another program works on the CPUs of an instance, so that its threads wait for one."""

from __future__ import annotations

from ....signals.thresholds import CPU_WAIT
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import server_pids, wait_proof
from ...instance import Instance, cpus_of
from ...reading import number, text
from ...verdicts import cleared, proof, unknown

# A program that takes less than this part of one CPU makes nobody wait.
FEWEST = 0.05


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return [_judged(case, each) for each in case.running]


def _judged(case: Case, instance: Instance) -> Judged:
    wait = instance.wait_ratio
    if wait is None or "processes" not in case.evidence:
        return unknown("the waits of its threads or the other processes could not be read", instance.name)
    taken = _taken(case, instance)
    busiest = max(taken, key=lambda name: taken[name]) if taken else "nobody"
    waits = wait_proof(case, instance)
    others = proof(
        "/proc/*/stat",
        f"{busiest} and others took {sum(taken.values()):.2g} CPUs" if taken else "no other program worked there",
        "nobody else on its CPUs",
        case.window_s,
    )
    part = min(wait, _part(instance, sum(taken.values())))
    if not taken and wait > CPU_WAIT.value / 2 and case.in_container:
        return unknown("it waits for CPUs, and a container does not see the programs of its machine", instance.name)
    if not taken or part <= CPU_WAIT.value / 2:
        return cleared("No other program makes it wait for its CPUs.", waits, others, instance=instance.name)
    return Judged(
        "cause" if part > CPU_WAIT.value else "contributor",
        0.9,
        (waits, others),
        "The programs may run on its CPUs and did. A quota would leave CPUs idle; too many threads of its own would"
        " need no other program.",
        instance.name,
        share=part,
    )


def _part(instance: Instance, taken: float) -> float:
    """Return the part of the CPU time that others had; more than that its threads wait for each other."""
    own = instance.cores_used
    return 1.0 if own is None else taken / max(taken + own, 1e-9)


def _taken(case: Case, instance: Instance) -> dict[str, float]:
    """Return the CPUs that others kept busy among those of an instance, by name."""
    own = server_pids(case)
    taken: dict[str, float] = {}
    for each in case.processes:
        allowed = cpus_of(each.get("cpus_allowed"))
        used = (number(each.get("cpu_us")) or 0.0) / 1e6 / (case.window_s or 1.0)
        # What may run anywhere runs mostly elsewhere; what is allowed few CPUs runs on these.
        here = used * len(allowed & instance.cpus) / max(len(allowed), 1)
        if each.get("pid") not in own and here > FEWEST:
            name = f"{text(each.get('name'))} (PID {each.get('pid')})"
            taken[name] = taken.get(name, 0.0) + here
    return taken


FAULT = Fault(
    id="cpu.neighbour",
    title="Another program works on the server's CPUs",
    layer="resources",
    observable="the threads' waiting time in schedstat, and other programs' CPU time on the same CPUs",
    remedy=Remedy(
        "Let the CPU partition keep everybody else on the housekeeping CPUs, or move the named program there.",
        "ansible-playbook playbooks/site.yml --limit HOST  # with the program's slice in cpu_partition_extra_slices",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/scheduler/sched-stats.html",),
    judge=judge,
)
