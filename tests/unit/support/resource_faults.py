# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of machines in evidence, each with the verdict that it has to get and what hides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evidence_cases import at, both, gateway, grow, healthy, put

Evidence = dict[str, Any]
RANKER = "samples/1/instances/ranker"


@dataclass(frozen=True)
class Injected:
    """A fault in evidence, the verdict it has to get, and the path whose loss leaves it undecided."""

    id: str
    evidence: Callable[[], Evidence]
    verdict: str = "cause"
    blind: tuple[str, ...] = ()
    host: Callable[[], Evidence] = healthy
    peers: int = 0


def slow(evidence: Evidence, wait_us: float = 8e6) -> Evidence:
    """Return evidence in which the threads of ranker wait for CPUs: 8 s beside 18 s of work."""
    return grow(evidence, "instances/ranker/process/wait_us", wait_us)


def throttled() -> Evidence:
    return slow(
        grow(
            grow(healthy(), "instances/ranker/cgroup/cpu_stat/nr_periods", 100),
            "instances/ranker/cgroup/cpu_stat/nr_throttled",
            40,
        )
    )


def neighbour() -> Evidence:
    other = {"pid": 9000, "name": "stress", "cpus_allowed": "1-3", "cpu_us": 12_000_000, "unit": "user.slice"}
    return slow(put(healthy(), "processes", [other]))


def oversubscribed() -> Evidence:
    words = at(healthy(), "instances/ranker/cmdline")
    kept = [word for word in words if "parallelism" not in word]
    wide = [*kept, "--tensorflow_intra_op_parallelism=16", "--tensorflow_inter_op_parallelism=16"]
    return slow(put(healthy(), "instances/ranker/cmdline", wide))


def clocks(governor: str, mhz: float, **facts: Any) -> Evidence:
    found = healthy()
    found["facts"]["cpufreq"]["governor"] = dict.fromkeys(map(str, range(8)), governor)
    found["facts"]["cpufreq"]["mhz"] = dict.fromkeys(map(str, range(8)), mhz)
    found["facts"].update(facts)
    return found


def sleepy() -> Evidence:
    found = healthy()
    for cpu in "567":
        found["facts"]["cpuidle"][cpu][2]["disabled"] = False
        for kind, value in (("user_us", 400_000), ("system_us", 100_000), ("idle_us", 9_500_000)):
            found = grow(found, f"stat/{cpu}/{kind}", value)
    return found


def interrupted() -> Evidence:
    found = grow(healthy(), "interrupts/2", 400_000)
    return grow(grow(found, "stat/2/softirq_us", 2_500_000), "stat/2/idle_us", 1_500_000)


def stolen() -> Evidence:
    found = healthy(virtual="kvm")
    for cpu in "123567":
        found = grow(grow(found, f"stat/{cpu}/steal_us", 2_000_000), f"stat/{cpu}/idle_us", 2_000_000)
    return found


def swapping() -> Evidence:
    found = grow(healthy(), "vmstat/pswpin", 5000)
    found = grow(found, "instances/ranker/cgroup/pressure/memory/some_us", 2_000_000)
    return put(found, f"{RANKER}/process/swap_mb", 400)


def glibc() -> Evidence:
    found = put(healthy(), "instances/ranker/allocator", "glibc")
    return put(found, f"{RANKER}/process/rss_mb", 40_000)


def both_versions() -> Evidence:
    states = [{"version": number, "state": "LOADING", "error_code": "OK", "error_message": ""} for number in (7, 8)]
    found = put(healthy(), "instances/ranker/models/ranker/states", states)
    row = {"size_mb": 20_000.0, "warmup": True, "batching_params": False, "complete": True}
    found = put(found, "instances/ranker/model_files/ranker/versions", {"7": row, "8": row})
    return put(found, "instances/ranker/oom_kills", 1)


def compacting() -> Evidence:
    return grow(put(healthy(), "facts/thp", "always"), "vmstat/compact_stall", 400)


def slow_disk() -> Evidence:
    states = [{"version": 7, "state": "LOADING", "error_code": "OK", "error_message": ""}]
    found = put(healthy(), "instances/ranker/models/ranker/states", states)
    found = grow(found, "instances/ranker/process/read_bytes", 200e6)
    return grow(found, "instances/ranker/cgroup/pressure/io/some_us", 6_000_000)


def disk(free: float) -> Evidence:
    return put(healthy(), "facts/disks/0/free_mb", free)


def log(*lines: str) -> Evidence:
    return put(healthy(), "instances/ranker/log", list(lines))


def gpu(**changes: Any) -> Evidence:
    found = healthy()
    found["gpus"][0].update(changes)
    return found


def kernel(*lines: str) -> Evidence:
    return healthy(kernel_log=["Linux version 6.12.48", *lines])


def lossy() -> Evidence:
    return grow(grow(healthy(), "net/Tcp.RetransSegs", 900), "net/TcpExt.TCPTimeouts", 60)


def narrow() -> Evidence:
    return put(healthy(), "facts/links/eth0/speed_mbit", 1000)


def handshakes() -> Evidence:
    found = gateway()
    info = found["gateway"]["stats"]
    info[1]["info"]["CumSslConns"] = info[0]["info"]["CumSslConns"] + 11_000
    return found


def busy_gateway() -> Evidence:
    return put(gateway(), "gateway/stats/1/info/Idle_pct", 3)


def hot_server() -> Evidence:
    found = gateway()
    servers = found["gateway"]["stats"][1]["backends"]["ranker"]["servers"]
    servers["a1.ranker"]["stot"] += 20_000
    return found


TABLE = [
    Injected("cpu.throttled", throttled, blind=("samples/1/instances/ranker/cgroup",)),
    Injected("cpu.neighbour", neighbour, blind=(f"{RANKER}/process/wait_us",)),
    Injected(
        "cpu.drift",
        lambda: put(put(healthy(), "instances/ranker/cpus_allowed", "1"), "instances/ranker/effective_cpus", "1"),
        blind=("instances/ranker/cpus_allowed", "instances/ranker/effective_cpus"),
    ),
    Injected("cpu.oversubscribed", oversubscribed, blind=(f"{RANKER}/process/wait_us",)),
    Injected("cpu.governor", lambda: clocks("powersave", 1200.0), blind=("facts/cpufreq",)),
    Injected("cpu.idle_states", sleepy, "contributor", blind=("facts/cpuidle",)),
    Injected("cpu.interrupts", interrupted, blind=("samples/1/interrupts",)),
    Injected("cpu.steal", stolen, blind=("samples/1/stat",)),
    Injected(
        "cpu.clocksource",
        lambda: put(healthy(), "facts/clocksource/current", "hpet"),
        blind=("facts/clocksource",),
    ),
    Injected(
        "cpu.thermal",
        lambda: clocks("performance", 1100.0, thermal_throttle=dict.fromkeys(map(str, range(8)), 900)),
        blind=("facts/thermal_throttle",),
    ),
    Injected(
        "memory.remote",
        lambda: put(healthy(), "instances/ranker/numa_pages", {"0": 100_000, "1": 500_000}),
        blind=("instances/ranker/numa_pages",),
    ),
    Injected("memory.pressure", swapping, blind=("samples/1/vmstat", f"{RANKER}/cgroup", "samples/1/pressure")),
    Injected(
        "memory.limit",
        lambda: put(healthy(), "instances/ranker/oom_kills", 3),
        blind=("instances/ranker/oom_kills", f"{RANKER}/cgroup", "instances/ranker/unit"),
    ),
    Injected("memory.growth", glibc, blind=("instances/ranker/allocator",)),
    Injected("memory.both_versions", both_versions, blind=("instances/ranker/model_files",)),
    Injected("memory.thp", compacting, blind=("facts/thp",)),
    Injected("disk.slow_load", slow_disk, blind=(f"{RANKER}/process/read_bytes",)),
    Injected("disk.full", lambda: disk(0.0), blind=("facts/disks",)),
    Injected("disk.full", lambda: disk(30_000.0), "contributor"),
    Injected("gpu.unused", lambda: gpu(processes=[], memory_used_mb=4), blind=("gpus",)),
    Injected(
        "gpu.driver_mismatch",
        lambda: put(healthy(), "facts/nvidia/library_version", "580.95.05"),
        blind=("facts/nvidia",),
    ),
    Injected("gpu.thermal", lambda: gpu(reasons=0x20, sm_mhz=1300), blind=("gpus/0/reasons",)),
    Injected("gpu.power_cap", lambda: gpu(reasons=0x4, sm_mhz=900, power_w=699.0), blind=("gpus/0/reasons",)),
    Injected("gpu.power_brake", lambda: gpu(reasons=0x88, sm_mhz=600), blind=("gpus/0/reasons",)),
    Injected("gpu.persistence", lambda: gpu(persistence=False), "contributor", blind=("gpus/0/persistence",)),
    Injected(
        "gpu.xid",
        lambda: kernel("NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."),
        blind=("kernel_log",),
    ),
    Injected("gpu.ecc", lambda: gpu(remap_failed=True)),
    Injected("gpu.ecc", lambda: gpu(remap_pending=True), "contributor"),
    Injected("gpu.pcie", lambda: gpu(pcie_width=4), blind=("gpus/0/pcie_width",)),
    Injected("gpu.far_node", lambda: gpu(node=1), "contributor", blind=("gpus",)),
    Injected(
        "gpu.foreign",
        lambda: gpu(processes=[{"pid": 4100, "memory_mb": 8_900}, {"pid": 777, "memory_mb": 9_000}], utilisation=97.0),
        blind=("gpus/0/processes",),
    ),
    Injected(
        "gpu.memory_taken",
        lambda: log("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        blind=("gpus/0/memory_used_mb",),
    ),
    Injected(
        "gpu.jit",
        lambda: put(
            log("TensorFlow was not built with CUDA kernel binaries compatible with compute capability 9.0"),
            "instances/ranker/cuda_cache/exists",
            False,
        ),
        blind=("instances/ranker/log",),
    ),
    Injected("gpu.lost", lambda: healthy(gpus=healthy()["gpus"][:1]), blind=("gpus",)),
    Injected(
        "gpu.fabric",
        lambda: log("CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized"),
        blind=("instances/ranker/log", "instances/spelling/log"),
    ),
    Injected(
        "net.listen_overflow", lambda: grow(healthy(), "net/TcpExt.ListenOverflows", 80), blind=("samples/1/net",)
    ),
    Injected("net.conntrack", lambda: both(healthy(), "conntrack/count", 262_144)),
    Injected("net.loss", lossy, blind=("samples/1/net",)),
    Injected("net.link", narrow, blind=("facts/links",), peers=3),
    Injected("net.ports", lambda: both(healthy(), "net/sockstat.tcp_tw", 48_900), blind=("facts/port_range",)),
    Injected(
        "host.files", lambda: put(healthy(), f"{RANKER}/process/fds", 1_048_000), blind=("instances/ranker/limits",)
    ),
    Injected("net.dns", lambda: put(healthy(), "facts/resolve_ms", 4000.0), blind=("facts/resolve_ms",)),
    Injected("gateway.tls_handshakes", handshakes, blind=("gateway/stats",), host=gateway),
    Injected("gateway.saturated", busy_gateway, blind=("gateway/stats",), host=gateway),
    Injected("gateway.skew", hot_server, blind=("gateway/stats",), host=gateway),
]
