# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sysctl settings of a serving host, computed from its hardware, each with its reason and public source."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology

DOCS = "https://docs.kernel.org"
NET = f"{DOCS}/admin-guide/sysctl/net.html"
IP = f"{DOCS}/networking/ip-sysctl.html"
VM = f"{DOCS}/admin-guide/sysctl/vm.html"
KERNEL = f"{DOCS}/admin-guide/sysctl/kernel.html"
ESNET = "https://fasterdata.es.net/host-tuning/linux/"
TUNED = "https://github.com/redhat-performance/tuned/blob/master/profiles/cpu-partitioning/tuned.conf"
FEDORA = "https://fedoraproject.org/wiki/Changes/IncreaseVmMaxMapCount"
GRPC = "https://github.com/grpc/grpc/blob/v1.62.0/src/core/lib/iomgr/tcp_server_utils_posix_common.cc"
BBR = "https://github.com/google/bbr/blob/master/Documentation/bbr-quick-start.md"

MIB = 2**20

# A NIC of unknown speed (link down, virtual) counts as the slowest found in serving hosts today.
ASSUMED_MBPS = 10000
# Clients of an inference server are in its own region. The buffer is twice the product of speed and round trip, because
# the kernel keeps half of a receive buffer for bookkeeping (tcp_adv_win_scale).
ROUND_TRIP_S = 0.010
# Never below the kernel's own ceiling of 6 MiB; above 256 MiB, one connection could pin a noticeable share of memory.
SMALLEST_BUFFER, LARGEST_BUFFER = 8 * MIB, 256 * MIB

# Above the ports of servers, exporters and monitoring (8500 and up, 9090 to 9400); one end even and one odd, as the
# kernel prefers.
FIRST_PORT, LAST_PORT = 16384, 65535

# The gap between the kernel's watermarks on the largest node: as much page cache as reading a model takes in some
# tenths of a second.
WATERMARK_GAP_MB = 1024
# Dirty pages at which writeback begins and at which writers block: some seconds of disk time, not minutes.
BACKGROUND_DIRTY_MB, MOST_DIRTY_MB = 1024, 4096

LEFT_ALONE = {
    "vm.overcommit_memory": "the allocator and CUDA reserve far more addresses than they use, which the default allows",
    "net.ipv4.tcp_congestion_control": "a choice of the network, not of the host; with bbr, its module and fq follow",
    "fs.file-max": "the kernel computes it from the memory, far above what a serving host opens",
    "vm.min_free_kbytes": "follows from the memory; vm.watermark_scale_factor widens the room above it instead",
    "net.core.netdev_budget_usecs": "the kernel makes it two ticks of its clock and refuses less",
    "net.ipv4.tcp_tw_reuse": "the kernel's default covers loopback, where a gateway meets its servers",
}

# Lower bounds: instances get LimitNOFILE=65536, which nr_open bounds; file-max counts all files.
LEAST = {"fs.nr_open": 65536, "fs.file-max": 262144}


class Setting(NamedTuple):
    """One sysctl setting."""

    name: str
    value: str
    reason: str
    source: str


def network(topology: Topology, ports: Iterable[int]) -> list[Setting]:
    """Return the settings for the path from the NIC to a server that listens on ``ports``."""
    most, why = _buffer(topology)
    queue = "connections wait here while all clients come back at once after a restart; beyond it they are dropped"
    dead = "a client that is gone is noticed after 7.5 minutes, not 2 hours; middleboxes forget idle ones after about 6"
    poll = "packets arrive on the few housekeeping CPUs, which may work off twice as many in one go"
    bursts = "clients keep their connections, idle between bursts; each burst would begin at ten segments again"
    outgoing = "a gateway takes a port for each connection to a server; begins above the ports that are listened on"
    loopback = "packets from a gateway to the servers of its own host queue here; 1000 overflow in a burst"
    found = [
        Setting("net.core.somaxconn", "16384", f"{queue}; gRPC takes its backlog from this value", GRPC),
        Setting("net.ipv4.tcp_max_syn_backlog", "16384", f"half-open {queue}", IP),
        Setting("net.core.rmem_max", str(most), f"the most that a socket may ask for: {why}", ESNET),
        Setting("net.core.wmem_max", str(most), f"the most that a socket may ask for: {why}", ESNET),
        Setting("net.ipv4.tcp_rmem", f"4096 131072 {most}", f"least, first and most: {why}", ESNET),
        Setting("net.ipv4.tcp_wmem", f"4096 16384 {most}", f"least, first and most: {why}", ESNET),
        Setting("net.ipv4.tcp_slow_start_after_idle", "0", bursts, IP),
        Setting("net.ipv4.tcp_keepalive_time", "300", dead, IP),
        Setting("net.ipv4.tcp_keepalive_intvl", "30", dead, IP),
        Setting("net.ipv4.tcp_keepalive_probes", "5", dead, IP),
        Setting("net.ipv4.ip_local_port_range", f"{FIRST_PORT} {LAST_PORT}", outgoing, IP),
        Setting("net.core.netdev_max_backlog", "16384", loopback, NET),
        Setting("net.core.netdev_budget", "600", poll, NET),
    ]
    reserved = [port for port in ports if FIRST_PORT <= port <= LAST_PORT]
    if reserved:
        reason = "instances listen there; an outgoing connection that holds the port would keep one from starting"
        found.append(Setting("net.ipv4.ip_local_reserved_ports", cpu_list.format(reserved), reason, IP))
    return found


def memory(topology: Topology) -> list[Setting]:
    """Return the settings for memory, which models fill in bursts of gigabytes."""
    nodes = _memory_nodes(topology)
    total = topology.get("memory_mb") or sum(nodes)
    largest = max(nodes, default=total) or 1
    scale = _clamped(math.ceil(WATERMARK_GAP_MB * 10000 / largest), 10, 100)
    background = _clamped(BACKGROUND_DIRTY_MB * 100 // (total or 1), 1, 10)
    dirty = _clamped(MOST_DIRTY_MB * 100 // (total or 1), 2, 20)
    swapped = "a request that meets swapped-out weights takes seconds; swap is the last resort"
    ahead = f"keeps {largest * scale // 10000} MB free ahead of need on the largest node, so that packets and requests"
    unpacked = "models of gigabytes are unpacked beside running servers and must not reach the disk all at once"
    pieces = "jemalloc and CUDA map memory in many pieces; distributions have raised the old 65530"
    compaction = "the kernel itself warns of latency spikes, since compaction moves pages of running servers"
    found = [
        Setting("vm.swappiness", "1", swapped, VM),
        Setting("vm.watermark_scale_factor", str(scale), f"{ahead} need not wait while a model is read", VM),
        Setting("vm.dirty_background_ratio", str(background), f"{unpacked}: from {total * background // 100} MB", VM),
        Setting("vm.dirty_ratio", str(dirty), f"{unpacked}: writers wait from {total * dirty // 100} MB", VM),
        Setting("vm.max_map_count", "1048576", pieces, FEDORA),
        Setting("vm.compaction_proactiveness", "0", compaction, VM),
    ]
    if len(nodes) > 1:
        reason = "a full node borrows from another; reclaiming first would stall requests and empty the page cache"
        found.append(Setting("vm.zone_reclaim_mode", "0", reason, VM))
    return found


def undisturbed(topology: Topology) -> list[Setting]:
    """Return the settings that keep the kernel off the CPUs reserved for serving."""
    counted = "the kernel counts memory on every CPU, those of serving included; every ten seconds is often enough"
    found = [Setting("vm.stat_interval", "10", counted, TUNED)]
    if len(_memory_nodes(topology)) > 1:
        reason = "the plan places servers and their memory; looking for better places costs faults on their pages"
        found.append(Setting("kernel.numa_balancing", "0", reason, KERNEL))
    return found


def beside(congestion_control: str | None) -> list[Setting]:
    """Return the settings that a congestion control chosen by the user needs."""
    if congestion_control != "bbr":
        return []
    reason = "bbr paces its packets, which fq does best; an interface takes it from its next start on"
    return [Setting("net.core.default_qdisc", "fq", reason, BBR)]


def _buffer(topology: Topology) -> tuple[int, str]:
    """Return the maximum buffer of one connection in bytes, and why."""
    speed = max((nic.get("speed_mbps") or 0 for nic in topology.get("nics") or () if nic.get("up", True)), default=0)
    known = f"{(speed or ASSUMED_MBPS) / 1000:g} Gbit/s" + ("" if speed else " (assumed, no NIC reports its speed)")
    needed = 2 * (speed or ASSUMED_MBPS) * 1e6 / 8 * ROUND_TRIP_S
    # A connection must never hold more than a small part of the memory.
    affordable = (topology.get("memory_mb") or 0) * MIB // 64 or LARGEST_BUFFER
    most = min(2 ** math.ceil(math.log2(needed)), 2 ** int(math.log2(affordable)), LARGEST_BUFFER)
    most = max(most, SMALLEST_BUFFER)
    return most, f"{most // MIB} MiB for {known} over {ROUND_TRIP_S * 1000:g} ms, within 1/64 of the memory"


def _memory_nodes(topology: Topology) -> list[int]:
    return [node["memory_mb"] for node in topology.get("nodes") or () if node.get("memory_mb")]


def _clamped(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))
