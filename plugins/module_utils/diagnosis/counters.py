# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The counters of a host: what two samples of them tell happened in between (proc(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..evidence.cpus import tick_us
from ..host.sysfs import Tree

CPU_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
PRESSURES = ("cpu", "io", "memory")
VMSTAT = re.compile(
    r"pgmajfault|pgscan_direct|pgsteal_direct|allocstall\w*|compact_(stall|fail|success)|thp_(fault_alloc|split_page|"
    r"collapse_alloc|zero_page_alloc)|pswp(in|out)|oom_kill|numa_(miss|foreign|hint_faults|pages_migrated)|drop_pagecache"
)
NET = {
    "TcpExt": re.compile(
        r"Listen(Overflows|Drops)|TCP(Timeouts|ReqQFull(Drop|DoCookies)|AbortOnMemory|AbortOnTimeout|SynRetrans|"
        r"LostRetransmit|MemoryPressures|BacklogDrop|RcvQDrop|ZeroWindowDrop|OFOQueue|FastRetrans)|PruneCalled|TW"
    ),
    "Tcp": re.compile(r"(Retrans|Out|In)Segs|CurrEstab|AttemptFails|(Active|Passive)Opens|EstabResets|InErrs|OutRsts"),
    "IpExt": re.compile(r"In(NoRoutes|TruncatedPkts|CsumErrors)"),
    "Udp": re.compile(r"InErrors|RcvbufErrors"),
}
MOST_CPUS = 4096


def sample(tree: Tree) -> dict[str, Any]:
    """Return the counters of this moment; null or empty where the kernel does not tell."""
    return {
        "stat": times(tree),
        "pressure": {name: pressure(tree, f"proc/pressure/{name}") for name in PRESSURES},
        "vmstat": vmstat(tree),
        "net": net(tree),
        "softnet": softnet(tree),
        "interrupts": interrupts(tree),
        "conntrack": conntrack(tree),
    }


def times(tree: Tree) -> dict[str, dict[str, int]]:
    """Return the time of each CPU in microseconds by what it did; ``user`` includes what nice programs took."""
    found: dict[str, dict[str, int]] = {}
    for line in tree.lines("proc/stat"):
        words = line.split()
        if len(words) > 8 and re.fullmatch("cpu[0-9]+", words[0]) and len(found) < MOST_CPUS:
            spent = dict(zip(CPU_TIMES, (int(word) * tick_us() for word in words[1:9])))
            spent["user"] += spent.pop("nice")
            found[words[0][3:]] = {f"{kind}_us": value for kind, value in spent.items()}
    return found


def pressure(tree: Tree, path: str) -> dict[str, int | None] | None:
    """Return the microseconds in which some and in which all tasks waited; None without the file."""
    totals = {
        words[0]: _whole(words[-1].partition("total=")[2]) for line in tree.lines(path) if (words := line.split())
    }
    return {"some_us": totals.get("some"), "full_us": totals.get("full")} if "some" in totals else None


def vmstat(tree: Tree) -> dict[str, int]:
    """Return the counters of the memory management that tell of trouble."""
    pairs = (line.split() for line in tree.lines("proc/vmstat"))
    return {
        pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and VMSTAT.fullmatch(pair[0]) and pair[1].isdecimal()
    }


def net(tree: Tree) -> dict[str, int]:
    """Return the counters of TCP that tell of trouble, as ``TcpExt.ListenOverflows``."""
    found = {}
    for file in ("netstat", "snmp"):
        for group, name, value in _pairs(tree.lines(f"proc/net/{file}")):
            if group in NET and NET[group].fullmatch(name):
                found[f"{group}.{name}"] = value
    return {**found, **_sockets(tree)}


def _pairs(lines: list[str]) -> Iterator[tuple[str, str, int]]:
    """Yield what the files say in pairs of lines, of names and of values."""
    for names, values in zip(lines[::2], lines[1::2]):
        group = names.partition(":")[0]
        for name, value in zip(names.split()[1:], values.split()[1:]):
            if re.fullmatch("-?[0-9]{1,20}", value):
                yield group, name, int(value)


def _sockets(tree: Tree) -> dict[str, int]:
    # "TCP: inuse 30 orphan 0 tw 12 alloc 40 mem 8"
    line = next((line for line in tree.lines("proc/net/sockstat") if line.startswith("TCP:")), "")
    words = line.split()[1:]
    pairs = zip(words[::2], words[1::2])
    return {f"sockstat.tcp_{name}": int(value) for name, value in pairs if value.isdecimal()}


def softnet(tree: Tree) -> dict[str, dict[str, int]]:
    """Return what each CPU did with arriving packets (net/core/net-procfs.c; hexadecimal, the CPU in column 13)."""
    found = {}
    for number, line in enumerate(tree.lines("proc/net/softnet_stat")[:MOST_CPUS]):
        cells = [int(word, 16) for word in line.split()]
        cpu = cells[12] if len(cells) > 12 else number
        found[str(cpu)] = {"processed": cells[0], "dropped": cells[1], "squeezed": cells[2]}
    return found


def interrupts(tree: Tree) -> dict[str, int]:
    """Return the interrupts of devices on each CPU: the numbered lines. Timers and calls of other CPUs are no fault."""
    lines = tree.lines("proc/interrupts")
    cpus = [word[3:] for word in (lines[0].split() if lines else []) if word.startswith("CPU")]
    totals = dict.fromkeys(cpus, 0)
    for line in lines[1:]:
        name, _colon, rest = line.strip().partition(":")
        if name.isdecimal():
            for cpu, word in zip(cpus, rest.split()):
                totals[cpu] += int(word) if word.isdecimal() else 0
    return totals


def conntrack(tree: Tree) -> dict[str, int | None] | None:
    """Return how full the table of tracked connections is; None where none are tracked."""
    folder = "proc/sys/net/netfilter"
    count, most = tree.number(f"{folder}/nf_conntrack_count"), tree.number(f"{folder}/nf_conntrack_max")
    return None if count is None else {"count": count, "max": most}


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() else None
