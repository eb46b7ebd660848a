# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance has far more working threads than CPUs."""

from __future__ import annotations

from ....signals.thresholds import CPU_WAIT
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import wait_proof
from ...instance import Instance
from ...verdicts import cleared, proof, unknown

# Threads for each CPU from which they wait for each other in earnest: the planner gives one for each.
MOST = 1.5
POOLS = ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs and has CPUs by its plan."""
    return [_judged(case, each) for each in case.running if each.cpus]


def _judged(case: Case, instance: Instance) -> Judged:
    wait, threads = instance.wait_ratio, _threads(instance)
    if wait is None or threads is None:
        return unknown("the waits of its threads or its command line could not be read", instance.name)
    cpus = len(instance.cpus)
    proofs = (
        proof("/proc/PID/cmdline", f"{threads:g} threads in a pool for operations", f"about {cpus}, one for each CPU"),
        wait_proof(case, instance),
        proof("/proc/PID/status", f"{_switches(instance)} involuntary switches/s", "few", case.window_s),
    )
    if threads <= MOST * cpus or wait <= CPU_WAIT.value:
        return cleared("It has no more working threads than its CPUs carry.", *proofs, instance=instance.name)
    return Judged(
        "cause",
        0.85,
        proofs,
        "Its threads wait although no quota stops it and nobody else is on its CPUs: they wait for each other.",
        instance.name,
        share=wait,
    )


def _threads(instance: Instance) -> float | None:
    """Return the threads of the larger pool by its command line; a pool of 0 has one for each CPU.

    Not of both: one runs operations, the other what is within one, and the planner gives each its one for each CPU.
    """
    if not instance.flags:
        return None
    sizes = [_size(instance.flags.get(pool, "0")) for pool in POOLS]
    return float(max(size or len(instance.cpus) for size in sizes))


def _size(told: str) -> int:
    return int(told) if told.isascii() and told.isdigit() else 0


def _switches(instance: Instance) -> str:
    rate = instance.rate(instance.spent("nonvoluntary"))
    return "unknown" if rate is None else f"{rate:.0f}"


FAULT = Fault(
    id="cpu.oversubscribed",
    title="More working threads than CPUs",
    layer="resources",
    observable="intra-op and inter-op threads together far above the CPUs, and threads that wait",
    remedy=Remedy(
        "Take the thread settings out of the instance, so that the planner splits its CPUs between both pools.",
        "tfserving_instances[].flags: without tensorflow_intra_op_parallelism and tensorflow_inter_op_parallelism",
        "low",
        restart=True,
    ),
    refs=("tensorflow/serving#1237", "tensorflow/serving#2060", "tensorflow/serving#1550"),
    judge=judge,
)
