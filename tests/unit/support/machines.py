# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Machines made to measure: as the dictionary that host_topology returns, or as a tree of files that shows one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list

MHZ = {"performance": 4000, "efficiency": 2800}

CGROUP_MOUNTS = {
    2: "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n",
    1: "cgroup /sys/fs/cgroup/cpuset cgroup rw,nosuid,cpuset 0 0\n",
}


def topology(
    *,
    sockets: int = 2,
    nodes_per_socket: int = 1,
    cores: int = 8,
    smt: int = 2,
    hybrid: int = 0,
    sparse: bool = False,
    memory_mb: int = 65536,
    offline: Sequence[int] = (),
    allowed: Sequence[int] | None = None,
    gpus: Sequence[Mapping[str, Any]] = (),
    nics: Sequence[Mapping[str, Any]] = (),
    cgroup_version: int = 2,
) -> dict[str, Any]:
    """What host_topology returns for a machine of this shape, without any file.

    `cores` (with `smt` threads each), `hybrid` (efficiency cores, one thread each) and `memory_mb` are counts for one
    node. As on real x86 machines the first threads of all cores are numbered first. `sparse` leaves gaps in the
    numbers of CPUs and nodes. `offline` CPUs are switched off; `allowed` is the host's cpuset. A GPU or NIC is a
    dictionary of the keys to set; all have defaults, and `node` None stands for firmware that does not tell.
    """
    node_ids = [index * 3 if sparse else index for index in range(sockets * nodes_per_socket)]
    usable_of = {node: [] for node in node_ids}
    cpus = _cpus(node_ids, nodes_per_socket, cores, smt, hybrid, 2 if sparse else 1, set(offline))
    for cpu in cpus:
        cpu["online"] = cpu["online"] and (allowed is None or cpu["id"] in allowed)
        if cpu["online"]:
            usable_of[cpu["node"]].append(cpu["id"])
    usable = sorted(cpu for members in usable_of.values() for cpu in members)
    nodes = [
        {
            "id": node,
            "cpus": usable_of[node],
            "memory_mb": memory_mb,
            "distances": [10 if other == node else 20 for other in node_ids],
        }
        for node in node_ids
    ]
    return {
        "cpus": cpus,
        "nodes": nodes,
        "gpus": [_gpu(index, gpu, usable_of, usable) for index, gpu in enumerate(gpus)],
        "gpus_left_out": [],
        "nics": [_nic(index, nic, node_ids) for index, nic in enumerate(nics)],
        "memory_mb": memory_mb * len(node_ids),
        "hugepages": [],
        "cgroup_version": cgroup_version,
        "cgroup_mode": "unified" if cgroup_version == 2 else "legacy",
        "virtualization": "none",
        "kernel": "6.1.0-28-amd64",
        "libc": None,
        "architecture": "x86_64",
        "driver_version": None,
        "driver_libraries": [],
        "cuda_version": None,
        "problems": [],
    }


def build(root: Path, **shape: Any) -> str:
    """Writes the files under /sys and /proc of a machine of this shape and returns `root` as a sysroot."""
    machine = topology(**shape)
    offline, allowed = set(shape.get("offline", ())), shape.get("allowed")
    ids = [cpu["id"] for cpu in machine["cpus"]]
    files = {
        "sys/devices/system/cpu/possible": cpu_list.format(ids),
        "sys/devices/system/cpu/present": cpu_list.format(ids),
        "sys/devices/system/cpu/online": cpu_list.format(set(ids) - offline),
        "sys/devices/system/node/online": cpu_list.format(node["id"] for node in machine["nodes"]),
        "proc/meminfo": f"MemTotal:       {machine['memory_mb'] * 1024} kB\n",
        "proc/sys/kernel/osrelease": machine["kernel"],
        "proc/sys/kernel/arch": machine["architecture"],
        "proc/mounts": "sysfs /sys sysfs rw 0 0\n" + CGROUP_MOUNTS[machine["cgroup_version"]],
    }
    for cpu in machine["cpus"]:
        files.update(_cpu_files(cpu, cpu["id"] not in offline))
    for node in machine["nodes"]:
        files.update(_node_files(node, [cpu["id"] for cpu in machine["cpus"] if cpu["node"] == node["id"]], offline))
    if allowed is not None:
        files.update(_cpuset_files(machine["cgroup_version"], cpu_list.format(allowed)))
    for path, text in files.items():
        write(root, path, text)
    for device in machine["gpus"] + machine["nics"]:
        _write_pci_device(root, device, -1 if _untold(device, machine) else device["node"], set(ids) - offline)
    for nic in machine["nics"]:
        _write_nic(root, nic)
    return str(root)


def write(root: str | Path, path: str, text: str | int) -> None:
    """Puts one file in place, with the folders above it."""
    file = Path(root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def _cpus(
    node_ids: list[int], nodes_per_socket: int, cores: int, smt: int, hybrid: int, stride: int, offline: set[int]
) -> list[dict[str, Any]]:
    threads = []  # (thread of its core, core, node's position, kind), in the order in which the kernel counts
    for position in range(len(node_ids)):
        for core in range(cores + hybrid):
            kind = "performance" if core < cores else "efficiency"
            for thread in range(smt if core < cores else 1):
                threads.append((thread, (position, core), position, kind))
    threads.sort(key=lambda thread: thread[0])
    number_of = {thread[:2]: number * stride for number, thread in enumerate(threads)}
    cpus = []
    for thread, core, position, kind in threads:
        cpu = number_of[thread, core]
        on = cpu not in offline
        siblings = (
            sorted(n for (_, other), n in number_of.items() if other == core and n not in offline) if on else [cpu]
        )
        cpus.append(
            {
                "id": cpu,
                "core": siblings[0],
                "socket": position // nodes_per_socket if on else None,
                "node": node_ids[position] if on or len(node_ids) == 1 else None,
                "siblings": siblings,
                "online": on,
                "max_mhz": MHZ[kind] if on else None,
                "kind": kind if on else "unknown",
            }
        )
    return cpus


def _gpu(index: int, wished: Mapping[str, Any], usable_of: dict[int, list[int]], usable: list[int]) -> dict[str, Any]:
    node = _device_node(wished, list(usable_of))
    return {
        "index": index,
        "uuid": None,
        "name": None,
        "vendor": "0x10de",
        "pci_address": f"0000:{0x10 + index:02x}:00.0",
        "local_cpus": usable if node is None else usable_of[node],
        "memory_mb": None,
        "compute_capability": None,
        "mig": {"mode": None, "instances": []},
        "driver_version": None,
        "why": None,
        "device": None,
        **wished,
        "node": node,
    }


def _nic(index: int, wished: Mapping[str, Any], node_ids: list[int]) -> dict[str, Any]:
    return {
        "name": f"ens{index}",
        "pci_address": f"0000:{0x80 + index:02x}:00.0",
        "speed_mbps": 25000,
        "queues": 4,
        "irqs": [100 + 10 * index + queue for queue in range(4)],
        "driver": "mlx5_core",
        "up": True,
        **wished,
        "node": _device_node(wished, node_ids),
    }


def _device_node(wished: Mapping[str, Any], node_ids: list[int]) -> int | None:
    return node_ids[0] if len(node_ids) == 1 else wished.get("node", node_ids[0])


def _untold(device: Mapping[str, Any], machine: Mapping[str, Any]) -> bool:
    return device["node"] is None or len(machine["nodes"]) == 1


def _cpu_files(cpu: Mapping[str, Any], on: bool) -> dict[str, str | int]:
    folder = f"sys/devices/system/cpu/cpu{cpu['id']}"
    if not on:
        return {f"{folder}/online": 0}
    return {
        f"{folder}/online": 1,
        f"{folder}/topology/core_cpus_list": cpu_list.format(cpu["siblings"]),
        # Core ids start again in each socket; nothing may rely on them.
        f"{folder}/topology/core_id": 0,
        f"{folder}/topology/physical_package_id": cpu["socket"],
        f"{folder}/cpufreq/cpuinfo_max_freq": cpu["max_mhz"] * 1000,
    }


def _node_files(node: Mapping[str, Any], members: list[int], offline: set[int]) -> dict[str, str | int]:
    folder = f"sys/devices/system/node/node{node['id']}"
    return {
        f"{folder}/cpulist": cpu_list.format(set(members) - offline),
        f"{folder}/distance": " ".join(map(str, node["distances"])),
        f"{folder}/meminfo": f"Node {node['id']} MemTotal:       {node['memory_mb'] * 1024} kB",
    }


def _cpuset_files(version: int, cpus: str) -> dict[str, str]:
    if version == 2:
        return {
            "proc/1/cgroup": "0::/machine.slice/box/init.scope",
            "sys/fs/cgroup/machine.slice/box/cpuset.cpus.effective": cpus,
        }
    return {"proc/1/cgroup": "3:cpuset:/docker/box", "sys/fs/cgroup/cpuset/docker/box/cpuset.cpus": cpus}


def _write_pci_device(root: Path, device: Mapping[str, Any], numa_node: int, online: set[int]) -> None:
    address = device["pci_address"]
    folder = f"sys/devices/pci0000:00/{address}"
    write(root, f"{folder}/class", "0x030200" if "uuid" in device else "0x020000")
    write(root, f"{folder}/vendor", device.get("vendor", "0x15b3"))
    write(root, f"{folder}/numa_node", numa_node)
    write(root, f"{folder}/local_cpulist", cpu_list.format(device.get("local_cpus", online)))
    for irq in device.get("irqs", ()):
        write(root, f"{folder}/msi_irqs/{irq}", "msix")
    link(root, f"sys/bus/pci/devices/{address}", f"../../../devices/pci0000:00/{address}")


def _write_nic(root: Path, nic: Mapping[str, Any]) -> None:
    device = f"sys/devices/pci0000:00/{nic['pci_address']}"
    folder = f"{device}/net/{nic['name']}"
    write(root, f"{folder}/speed", -1 if nic["speed_mbps"] is None else nic["speed_mbps"])
    write(root, f"{folder}/operstate", "up" if nic["up"] else "down")
    for queue in range(nic["queues"]):
        write(root, f"{folder}/queues/rx-{queue}/rps_cpus", 0)
        write(root, f"{folder}/queues/tx-{queue}/xps_cpus", 0)
    link(root, f"{folder}/device", "../..")
    link(root, f"{device}/driver", f"../../../bus/pci/drivers/{nic['driver']}")
    link(root, f"sys/class/net/{nic['name']}", f"../../../{folder}")


def link(root: str | Path, path: str, target: str) -> None:
    """Puts a symbolic link in place, with the folders above it."""
    place = Path(root, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
