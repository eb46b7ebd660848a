# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host is and how it is set: one look, no counters. Null where the kernel does not tell."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import time
from collections.abc import Collection, Sequence
from typing import Any

from ..driver import state as driver_state
from ..host.sysfs import Tree
from ..visible_text import told
from . import links

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
PCI = "sys/bus/pci/devices"
# Display, network, and mass storage: what a slow link slows down.
PCI_CLASSES = ("0x03", "0x02", "0x01")
MOST_DEVICES = 128
MOST_CPUS = 1024
_TEXT = 100
# adjtimex(2): the clock is not synchronised; its offset is in nanoseconds.
_UNSYNC, _NANO = 0x40, 0x2000


def read(tree: Tree, paths: Sequence[str], ports: Collection[int] = ()) -> dict[str, Any]:
    """Return the facts; ``paths`` are those whose disks matter, ``ports`` those that calls come to."""
    cpus = [str(number) for number in tree.numbered(CPU, "cpu")][:MOST_CPUS]
    return {
        "clocksource": _clocksource(tree),
        "cpufreq": _cpufreq(tree, cpus),
        "cpuidle": {cpu: states for cpu in cpus if (states := _idle_states(tree, cpu))},
        "thermal_throttle": _numbers(tree, cpus, "thermal_throttle/core_throttle_count"),
        "thp": _chosen(tree.text("sys/kernel/mm/transparent_hugepage/enabled")),
        "swappiness": tree.number("proc/sys/vm/swappiness"),
        "memory": _memory(tree),
        "nodes": {str(node): _node(tree, node) for node in tree.numbered(NODE, "node")},
        "somaxconn": tree.number("proc/sys/net/core/somaxconn"),
        "syn_backlog": tree.number("proc/sys/net/ipv4/tcp_max_syn_backlog"),
        "port_range": _port_range(tree),
        "links": links.read(tree, ports),
        "clock": _clock() if tree.live else {"synchronised": None, "offset_ms": None},
        "disks": [disk for path in paths if (disk := _disk(tree, path))],
        "pci": _pci(tree),
        "nvidia": _nvidia(tree),
    }


def _clocksource(tree: Tree) -> dict[str, Any]:
    folder = "sys/devices/system/clocksource/clocksource0"
    current = tree.text(f"{folder}/current_clocksource")
    available = (tree.text(f"{folder}/available_clocksource") or "").split()
    return {
        "current": told(current, _TEXT) if current else None,
        "available": [told(each, _TEXT) for each in available],
    }


def _cpufreq(tree: Tree, cpus: Sequence[str]) -> dict[str, Any]:
    governors = {cpu: tree.text(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus}
    clocks = {name: _numbers(tree, cpus, f"cpufreq/{file}") for name, file in _CLOCKS.items()}
    return {
        "governor": {cpu: told(each, _TEXT) for cpu, each in governors.items() if each},
        **{name: {cpu: kilohertz / 1000 for cpu, kilohertz in found.items()} for name, found in clocks.items()},
    }


_CLOCKS = {"mhz": "scaling_cur_freq", "max_mhz": "cpuinfo_max_freq", "base_mhz": "base_frequency"}


def _numbers(tree: Tree, cpus: Sequence[str], file: str) -> dict[str, int]:
    found = {cpu: tree.number(f"{CPU}/cpu{cpu}/{file}") for cpu in cpus}
    return {cpu: value for cpu, value in found.items() if value is not None}


def _idle_states(tree: Tree, cpu: str) -> list[dict[str, Any]]:
    folder = f"{CPU}/cpu{cpu}/cpuidle"
    return [
        {
            "name": told(tree.text(f"{folder}/state{number}/name") or "", _TEXT),
            "latency_us": tree.number(f"{folder}/state{number}/latency"),
            "time_us": tree.number(f"{folder}/state{number}/time"),
            "disabled": tree.number(f"{folder}/state{number}/disable") == 1,
        }
        for number in tree.numbered(folder, "state")[:20]
    ]


def _chosen(text: str | None) -> str | None:
    """Return the word in brackets of such as ``always [madvise] never``."""
    found = re.search(r"\[(\w{1,20})\]", text or "")
    return found[1] if found else None


_MEMORY = {
    "MemTotal": "total_mb", "MemFree": "free_mb", "MemAvailable": "available_mb", "SwapTotal": "swap_total_mb",
    "SwapFree": "swap_free_mb",
}  # fmt: skip


def _memory(tree: Tree) -> dict[str, int]:
    return _kilobytes(tree.lines("proc/meminfo"), _MEMORY)


def _node(tree: Tree, node: int) -> dict[str, Any]:
    # "Node 0 MemTotal:       65536 kB"
    lines = [line.partition(f"Node {node} ")[2] for line in tree.lines(f"{NODE}/node{node}/meminfo")]
    names = {"MemTotal": "total_mb", "MemFree": "free_mb"}
    return {"cpus": tree.text(f"{NODE}/node{node}/cpulist"), **_kilobytes(lines, names)}


def _kilobytes(lines: Sequence[str], names: dict[str, str]) -> dict[str, int]:
    pairs = (line.partition(":") for line in lines)
    words = {names[name]: value.split() for name, _colon, value in pairs if name in names}
    return {name: int(value[0]) // 1024 for name, value in words.items() if value and value[0].isdecimal()}


def _port_range(tree: Tree) -> list[int] | None:
    words = (tree.text("proc/sys/net/ipv4/ip_local_port_range") or "").split()
    return [int(word) for word in words] if len(words) == 2 and all(map(str.isdecimal, words)) else None


def _clock() -> dict[str, Any]:
    """Return the state of the system clock, by adjtimex(2) without a change."""
    buffer = (ctypes.c_long * 64)()
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
        return {"synchronised": None, "offset_ms": None}
    # struct timex on 64 bits: modes, offset, freq, maxerror, esterror, status.
    status = buffer[5] & 0xFFFFFFFF
    offset_ms = buffer[1] / (1e6 if status & _NANO else 1e3)
    return {"synchronised": not status & _UNSYNC, "offset_ms": round(offset_ms, 3)}


def _disk(tree: Tree, path: str) -> dict[str, Any] | None:
    try:
        found = os.statvfs(tree.path(path))
    except OSError:
        return None
    unit = found.f_frsize / (1 << 20)
    sizes = {"total_mb": round(found.f_blocks * unit), "free_mb": round(found.f_bavail * unit)}
    return {"path": path, **sizes, "inodes_free": found.f_favail if found.f_files else None}


def _pci(tree: Tree) -> list[dict[str, Any]]:
    kinds = {address: tree.text(f"{PCI}/{address}/class") or "" for address in tree.names(PCI)}
    wanted = [address for address, kind in kinds.items() if kind.startswith(PCI_CLASSES)]
    return [{**_device(tree, address), "class": kinds[address][:10]} for address in wanted[:MOST_DEVICES]]


def _device(tree: Tree, address: str) -> dict[str, Any]:
    folder = f"{PCI}/{address}"
    texts = {"vendor": "vendor", "speed": "current_link_speed", "max_speed": "max_link_speed"}
    found = {name: tree.text(f"{folder}/{file}") for name, file in texts.items()}
    node = tree.number(f"{folder}/numa_node")
    return {
        "address": told(address, 20),
        **{name: told(text, 30) if text else None for name, text in found.items()},
        "width": tree.number(f"{folder}/current_link_width"),
        "max_width": tree.number(f"{folder}/max_link_width"),
        "node": node if node is not None and node >= 0 else None,
    }


def _nvidia(tree: Tree) -> dict[str, Any] | None:
    loaded, library = driver_state.loaded(tree)["version"], driver_state.library_version(tree)
    return {"module_version": loaded, "library_version": library} if loaded or library else None


def resolve_ms(names: Sequence[str]) -> float | None:
    """Return the longest time that looking up one of some names took, in milliseconds; None without names."""
    slowest: float | None = None
    for name in names[:5]:
        began = time.monotonic()
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        slowest = max(slowest or 0.0, (time.monotonic() - began) * 1000)
    return None if slowest is None else round(slowest, 2)


def virtual(tree: Tree, answer: str | None) -> str | None:
    """Return what the host is a guest of: by systemd-detect-virt's ``answer``, else by the CPU's flag."""
    word = (answer or "").strip()
    if word and word != "none":
        return told(word, 40)
    flags = (tree.data("proc/cpuinfo", 1 << 14) or b"").decode("utf-8", "replace")
    return "unknown" if not word and re.search(r"^flags\s*:.*\bhypervisor\b", flags, re.MULTILINE) else None
