# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What faults of CPUs, memory and GPUs ask in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from ..signals.thresholds import CPU_WAIT
from .case import Case
from .finding import Judged, Proof
from .instance import Instance, cpus_of
from .reading import at, listed, mapping, number, ratio, text
from .verdicts import percent, proof, unknown

Tree = Mapping[str, Any]
# NVML's clock event reasons. https://docs.nvidia.com/deploy/nvml-api (NvmlClocksEventReasons)
POWER_CAP, HARDWARE, THERMAL, HARDWARE_THERMAL, POWER_BRAKE = 0x4, 0x8, 0x20, 0x40, 0x80
# Part of the highest clock below which a loaded CPU or GPU is slow: the clock that all cores can keep at once lies
# above it on servers, the one of power saving far below.
CLOCK_RATIO = 0.8
# CPUs that are idle for more of the time clock down by themselves.
AT_REST = 0.8
# A clock is read a moment too early or too late.
BASE_RATIO = 0.95
HIDDEN = "a container does not see which processes its GPUs have"


def speed_ratio(case: Case, cpus: Iterable[int], of: str = "max_mhz") -> float | None:
    """Return the clock of some CPUs as a part of their highest or their base clock, by the median."""
    clocks, highest = (mapping(case.fact("cpufreq", name)) for name in ("mhz", of))
    ratios = [ratio(number(clocks.get(str(cpu))), number(highest.get(str(cpu)))) for cpu in cpus]
    known = [each for each in ratios if each is not None]
    return median(known) if known else None


def clock_is_up(case: Case, cpus: Iterable[int]) -> bool | None:
    """Tell whether CPUs keep their clock; None where it is not known.

    Under load none keeps its highest clock on all cores at once, with wide instructions least of all. The base clock is
    what its maker promises.
    """
    some = frozenset(cpus)
    highest, base = speed_ratio(case, some), speed_ratio(case, some, "base_mhz")
    if highest is None:
        return None
    return highest >= CLOCK_RATIO or (base is not None and base >= BASE_RATIO)


def clock_proof(source: str, clock: float | None) -> Proof:
    """Return a clock, as a part of the highest, as evidence."""
    return proof(source, f"{percent(clock)} of the highest clock", f"over {percent(CLOCK_RATIO)} under load")


def wait_proof(case: Case, instance: Instance) -> Proof:
    """Return the wait of an instance's threads for a CPU as evidence."""
    waited = f"{percent(instance.wait_ratio)} of its time without a CPU"
    return proof("/proc/PID/schedstat", waited, f"under {CPU_WAIT.percent}", case.window_s)


def nodes_of(case: Case, cpus: frozenset[int]) -> frozenset[str]:
    """Return the nodes that some CPUs belong to."""
    nodes = mapping(case.fact("nodes"))
    return frozenset(name for name, node in nodes.items() if cpus_of(mapping(node).get("cpus")) & cpus)


def planned_gpus(instance: Instance) -> frozenset[str]:
    """Return the GPUs that the plan gives to an instance, as the plan names them."""
    return frozenset(str(each) for each in listed(instance.plan.get("gpus")))


def on_gpus(case: Case) -> list[Instance]:
    """Return the instances that are to use GPUs."""
    return [each for each in case.instances if planned_gpus(each)]


def of_gpus(case: Case, instance: Instance) -> list[Tree]:
    """Return the GPUs of an instance among those of the host."""
    planned = planned_gpus(instance)
    return [gpu for gpu in case.gpus or () if planned & {text(gpu.get("uuid")), str(gpu.get("index"))}]


def of_gpu(case: Case, gpu: Tree) -> list[Instance]:
    """Return the instances that the plan puts on a GPU."""
    names = {text(gpu.get("uuid")), str(gpu.get("index"))}
    return [each for each in case.instances if planned_gpus(each) & names]


def sharers(case: Case, gpu: Tree) -> int:
    """Return how many instances the plan puts on a GPU, those that were not looked at included."""
    names = {text(gpu.get("uuid")), str(gpu.get("index"))}
    return sum(
        bool(names & set(map(str, listed(mapping(each).get("gpus"))))) for each in listed(at(case.plan, "instances"))
    )


def owner_of(case: Case, gpu: Tree) -> str | None:
    """Return the instance of a GPU by name, None where it has none or several."""
    owners = of_gpu(case, gpu)
    return owners[0].name if len(owners) == 1 else None


def gpu_label(gpu: Tree) -> str:
    """Return a GPU's name for people."""
    return f"GPU {gpu.get('index')}"


def held(gpu: Tree, *bits: int) -> bool | None:
    """Tell whether one of these reasons holds a GPU's clocks back; None where the driver did not say."""
    reasons = number(gpu.get("reasons"))
    return None if reasons is None else any(int(reasons) & bit for bit in bits)


def reasons_of(gpu: Tree) -> str:
    """Return the reasons that hold a GPU's clocks back, as the driver's mask."""
    reasons = number(gpu.get("reasons"))
    return "unknown" if reasons is None else hex(int(reasons))


def clock_ratio(gpu: Tree) -> float | None:
    """Return the clock of a GPU as a part of its highest."""
    return ratio(number(gpu.get("sm_mhz")), number(gpu.get("sm_max_mhz")))


def unread_of(case: Case, gpu: Tree, what: str) -> Judged:
    """Say that something of a GPU, which would decide, could not be read."""
    return unknown(f"{what} of {gpu_label(gpu)} could not be read", owner_of(case, gpu))


def shows_processes(case: Case) -> bool:
    """Tell whether the driver's list of processes has those of this host.

    In a PID namespace of its own a container gets an empty list, or numbers that are the machine's.
    """
    if not case.in_container:
        return True
    shown = {mapping(row).get("pid") for gpu in case.gpus or () for row in listed(gpu.get("processes"))}
    return bool(shown & server_pids(case))


def use_by(case: Case, instance: Instance) -> float | None:
    """Return how busy the busiest GPU is that an instance's process is on, None where it is on none."""
    pid = instance.process("pid")
    own = [
        gpu for gpu in case.gpus or () if any(mapping(row).get("pid") == pid for row in listed(gpu.get("processes")))
    ]
    return max(((number(gpu.get("utilisation")) or 0.0) / 100 for gpu in own), default=None)


def waited_for(case: Case, instance: Instance, resource: str) -> float | None:
    """Return the part of the time in which an instance waited, or the host where its cgroup does not say."""
    own = instance.pressure(resource)
    return case.pressure(resource) if own is None else own


def oom_kills(instance: Instance) -> float | None:
    """Return how often the kernel ended an instance for lack of memory, by all who count it."""
    counted = (
        number(instance.evidence.get("oom_kills")),
        number(at(instance.last, "cgroup", "memory", "events", "oom_kill")),
        1.0 if at(instance.evidence, "unit", "result") == "oom-kill" else None,
    )
    return max((each for each in counted if each is not None), default=None)


def server_pids(case: Case) -> frozenset[int]:
    """Return the processes of all instances, in either sample, whether or not the diagnosis is of them."""
    found = (at(sample, "instances", each.name, "process", "pid") for sample in case.samples for each in case.instances)
    every = (*found, *listed(at(case.evidence, "collector", "servers")))
    return frozenset(pid for pid in every if isinstance(pid, int))


def not_told(case: Case) -> str:
    """Return why GPUs could not be read."""
    return text(case.evidence.get("gpu_error")) or "nvidia-smi gave no GPUs"
