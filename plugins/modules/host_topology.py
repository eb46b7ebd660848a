#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads a host's topology; how each part is read is in module_utils/topology/read.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_topology
short_description: Read which CPUs, NUMA nodes, GPUs and network cards a host has
version_added: 0.1.0
description:
  - Reads what a plan needs to know about a host's hardware, from C(/sys), C(/proc) and, for NVIDIA GPUs, C(nvidia-smi).
  - Only what the host may use counts. CPUs that are switched off, or that the cgroup around a container holds back, are
    listed as not online. What limits only the session that reads (a slice, an affinity, C(isolcpus)) does not count,
    so that CPUs which were set aside for serving are still found on the next run.
  - Ordinary hardware oddities are evened out, and RV(topology.problems) says where the firmware, the kernel and the
    driver contradict each other.
options:
  sysroot:
    description:
      - Root of the machine to read, with C(sys) and C(proc) in it. Any other than V(/) is a recording of a machine,
        for which neither C(nvidia-smi) nor C(systemd-detect-virt) is asked.
    type: path
    default: /
  gpu_pci_vendors:
    description: PCI vendor ids, as sysfs writes them, whose display controllers count as GPUs.
    type: list
    elements: str
    default: ["0x10de"]
  gpu_ignore:
    description:
      - GPUs that are left out, by PCI address (V(0000:3b:00.0)) or by vendor and device id (V(10de:128b)). Those
        that C(vfio-pci) or another such driver holds, virtual functions (SR-IOV), and those that the running driver no
        longer drives are left out anyway.
    type: list
    elements: raw
    default: []
  timeout:
    description:
      - Seconds to wait for each answer of C(nvidia-smi). Without the persistence daemon it initialises every GPU before
        it answers, which takes some seconds on hosts with eight. A driver that is wedged never answers.
    type: int
    default: 10
  group:
    description: A group whose entry is read, for RV(accounts).
    type: str
    default: tfserving
  instances:
    description: Names of instances, whose accounts are looked for among the host's, for RV(accounts).
    type: list
    elements: str
    default: []
  plan_path:
    description: The record of the plan in force, for RV(plan). Left out, none is read.
    type: path
  rollouts:
    description: Names of models whose roll-outs are read, for RV(rollouts).
    type: list
    elements: str
    default: []
  rollout_path:
    description: The directory with the records of roll-outs, for RV(rollouts). Left out, none is read.
    type: path
  key_path:
    description: The host's key for the plan's digests, for RV(key). Left out, none is read.
    type: path
attributes:
  action:
    description: An action plugin sees to it that a result with RV(key) is never printed.
    support: full
  check_mode:
    description: Reads only, so check mode is no different.
    support: full
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the hardware
  tfserving.fleet.host_topology:
  register: hardware

- name: Show the GPUs and their nodes
  ansible.builtin.debug:
    msg: "GPU {{ item.index }}: {{ item.name }} on node {{ item.node }}"
  loop: "{{ hardware.topology.gpus }}"
  loop_control:
    label: "{{ item.pci_address }}"

- name: Read a recorded machine
  tfserving.fleet.host_topology:
    sysroot: /srv/machines/48amd64-4d2n6c-sparse
"""

RETURN = r"""
accounts:
  description:
    - What the host knows under the names that the servers are to have. C(group) has C(name), C(gid) and C(members), or
      is null; C(accounts) are those in the group and those of the instances' names, each with C(name), C(uid), C(gid),
      C(comment) and C(shell). Of a recording nothing is read.
  returned: success
  type: dict
apt_sources:
  description:
    - Every entry of the host's apt, from both forms of source files; anything that is not a file is skipped. Each has
      C(file), C(line), C(uri) (as it compares, without credentials), C(suite), C(signed_by) and C(trusted).
  returned: success
  type: list
  elements: dict
key:
  description: The host's key for the plan's digests.
  returned: when O(key_path) is given
  type: str
plan:
  description: The plan in force; empty where none was ever recorded.
  returned: when O(plan_path) is given
  type: dict
recorded:
  description: Whether the record is as this release writes it, and need not be written again for the same plan.
  returned: when O(plan_path) is given
  type: bool
rollouts:
  description:
    - What the host remembers of the roll-outs of each model in O(rollouts) that has a record. C(age) grows with every
      write, C(old) is the version before the last roll-out, C(new) the one that takes its place, C(reverted) holds the
      reason for each reverted version.
    - A record that is damaged fails the module, since it may name a version that must not come back.
  returned: when O(rollout_path) is given
  type: dict
service_manager:
  description: V(systemd), or the name of the process that runs the host in its place.
  returned: success
  type: str
topology:
  description: The host's hardware.
  returned: success
  type: dict
  contains:
    cpus:
      description: All CPUs (hardware threads) that are there, by number.
      type: list
      elements: dict
      contains:
        id:
          description: Number of the CPU.
          type: int
        core:
          description: The core it is a thread of, unique over the host. It is the lowest number among its threads.
          type: int
        socket:
          description: Number of the processor package; null where the kernel does not report it, as for CPUs switched
            off.
          type: int
        node:
          description: NUMA node. Every online CPU has one; it is null for CPUs that are switched off on hosts with
            more than one node.
          type: int
        siblings:
          description: All threads of its core, itself included, also those that are not online.
          type: list
          elements: int
        online:
          description: Whether this host may use it now.
          type: bool
        max_mhz:
          description: Highest clock in MHz; null without frequency scaling.
          type: int
        kind:
          description: V(performance) or V(efficiency) (on hosts with two kinds of cores), V(unknown) where the
            kernel reports neither kind, capacity nor clock.
          type: str
    nodes:
      description:
        - All NUMA nodes of the host, by number; one node on hosts without NUMA. A node may lack CPUs, memory or both.
        - The memory of a coherently attached GPU is no node of the host. Memory without CPUs of which it is unknown
          whether it is a GPU's is left out as well, and RV(topology.problems) names it.
      type: list
      elements: dict
      contains:
        id:
          description: Number of the node.
          type: int
        cpus:
          description: Its online CPUs.
          type: list
          elements: int
        memory_mb:
          description: Its memory in MiB that this host may use; 0 where a cpuset forbids it.
          type: int
        distances:
          description: Distances to all nodes, in their order; empty where the firmware gives no complete table.
          type: list
          elements: int
    gpus:
      description: GPUs by PCI address.
      type: list
      elements: dict
      contains:
        index:
          description: Number under which the driver knows it, counted by PCI address where C(nvidia-smi) is silent.
            It is null for a GPU that CUDA cannot use, one that C(nvidia-smi) leaves out or that RV(topology.gpus[].why)
            tells of.
          type: int
        uuid:
          description: UUID, null without C(nvidia-smi).
          type: str
        name:
          description: Product name, null without C(nvidia-smi).
          type: str
        vendor:
          description: PCI vendor id as sysfs writes it.
          type: str
          sample: "0x10de"
        pci_address:
          description: PCI address as sysfs writes it.
          type: str
          sample: "0000:3b:00.0"
        node:
          description: NUMA node, null where the firmware does not report it on a host with several.
          type: int
        local_cpus:
          description: Online CPUs near it; all of them where the firmware does not report it.
          type: list
          elements: int
        memory_mb:
          description: Memory in MiB, null without C(nvidia-smi) and for GPUs that share the host's memory.
          type: int
        compute_capability:
          description: CUDA compute capability, null without C(nvidia-smi).
          type: str
          sample: "9.0"
        mig:
          description: C(mode) is V(enabled), V(disabled) or null (no MIG); C(instances) holds C(index), C(profile) and
            C(uuid) of each instance.
          type: dict
        driver_version:
          description: Version of the driver, null without C(nvidia-smi).
          type: str
        why:
          description: Why it cannot be used, such as V(is lost) or V(waits for a reset); null for one that can.
          type: str
        device:
          description: Its device node, null where no driver is loaded.
          type: str
          sample: /dev/nvidia0
    gpus_left_out:
      description: GPUs that are not ours to use, such as those of a virtual machine or in O(gpu_ignore).
      type: list
      elements: dict
      contains:
        pci_address:
          description: Address on the PCI bus.
          type: str
        why:
          description: Why it is left out.
          type: str
    nics:
      description: Network interfaces that are hardware, by name. Virtual functions are not listed.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the interface.
          type: str
        pci_address:
          description: Address of the PCI device it is on or behind, null if there is none.
          type: str
        node:
          description: NUMA node, null where the firmware does not report it on a host with several.
          type: int
        speed_mbps:
          description: Speed of the link in Mbit/s, null when it is down or the driver does not know.
          type: int
        queues:
          description: Number of receive queues.
          type: int
        irqs:
          description: Numbers of its interrupts.
          type: list
          elements: int
        driver:
          description: Kernel driver.
          type: str
        up:
          description: Whether there is a link.
          type: bool
    memory_mb:
      description: Memory in MiB that this host may use.
      type: int
    hugepages:
      description: Reserved huge pages by size, each with C(size_kb) and C(total).
      type: list
      elements: dict
    cgroup_version:
      description: Version (1 or 2) of the cgroup hierarchy that has the cpuset controller, null without cgroups.
      type: int
    cgroup_mode:
      description: V(unified) (version 2 alone), V(legacy) (version 1 alone) or V(hybrid), null without cgroups.
      type: str
    virtualization:
      description: V(none) or what C(systemd-detect-virt) calls the container or machine around the host.
      type: str
    kernel:
      description: Release of the kernel.
      type: str
    libc:
      description: C library with its version, null for recordings.
      type: str
      sample: glibc 2.36
    architecture:
      description: Machine as C(uname -m) calls it, null for recordings without it.
      type: str
      sample: x86_64
    driver_version:
      description: Version of the NVIDIA driver, null without C(nvidia-smi).
      type: str
    driver_libraries:
      description: Libraries of the NVIDIA driver that CUDA programs load, as C(name) and C(path); empty without GPUs.
      type: list
      elements: dict
    cuda_version:
      description: Newest CUDA version that the driver supports, null where C(nvidia-smi) does not report it.
      type: str
    problems:
      description: Contradictions and failures met on the way, a sentence each.
      type: list
      elements: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import plan_key, plan_record
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import live


def recorded(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the plan in force and of roll-outs is asked for."""
    plan = plan_record.in_force(wanted["plan_path"]) if wanted["plan_path"] else {}
    key = {"key": plan_key.read_key(wanted["key_path"])} if wanted["key_path"] else {}
    folder = wanted["rollout_path"]
    return {**plan, **key, **({"rollouts": rollout_record.read(wanted["rollouts"], folder)} if folder else {})}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **live.ARGUMENTS,
            "plan_path": {"type": "path"},
            "rollouts": {"type": "list", "elements": "str", "default": []},
            "rollout_path": {"type": "path"},
            "key_path": {"type": "path", "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        record = recorded(module.params)
        found = live.read(module.params)
    except WishError as error:
        module.fail_json(msg=str(error))
    except LookupError as error:
        module.fail_json(msg=f"sysroot: {error.args[0]}; give the folder that holds the machine's sys and proc")
    module.exit_json(changed=False, **found, **record)


if __name__ == "__main__":
    main()
