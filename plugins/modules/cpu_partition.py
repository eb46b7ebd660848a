#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Puts a partition of a host's CPUs in force and proves it; how is in module_utils/kernel/partition.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cpu_partition
short_description: Partition a host's CPUs at once, and prove it
version_added: 0.1.0
description:
  - Makes systemd read the drop-ins of its slices again, which applies them to running processes without stopping
    any. Then reads what the kernel grants every slice and every process in it, and fails where that differs from the
    plan.
  - Steers interrupts by the unit C(tfserving-fleet-interrupts.service) and restarts C(irqbalance) when it was started
    with other CPUs to avoid.
  - On hosts without cpusets, gives every thread outside serving an affinity instead.
  - Limits that the partition does not name are lifted. An empty partition gives every CPU back.
  - Decides by what is in force, not by what this run changed, so that the next run completes an interrupted one.
options:
  state:
    description: V(absent) gives every CPU back, whatever O(partition) and O(boot_parameters) say.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.2.0
  partition:
    description: The part C(partition) of the plan. By default nothing is kept apart.
    type: dict
    default: {}
  boot_parameters:
    description: Parameters that the kernel should have been booted with.
    type: list
    elements: str
    default: []
  reboot_ok:
    description: Whether the host may be rebooted, and its boot loader's configuration changed for that.
    type: bool
    default: false
  is_controller:
    description: Whether the host is the machine that Ansible runs on, which is never rebooted.
    type: bool
    default: false
  record:
    description: File that records what was limited.
    type: path
    default: /var/lib/tfserving-fleet/partition.json
attributes:
  check_mode:
    support: full
    description: Says what would be changed.
  diff_mode:
    support: none
    description: RV(parts) says what is changed.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Keep the CPUs apart
  tfserving.fleet.cpu_partition:
    partition: "{{ tfserving_plan.partition }}"

- name: Give every CPU back
  tfserving.fleet.cpu_partition:
"""

RETURN = r"""
parts:
  description: What was changed, as units, numbers of threads, and V(interrupts).
  returned: success
  type: list
  elements: str
  sample: [system.slice, interrupts]
units:
  description: What the kernel grants each unit that has a cgroup.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the unit.
      type: str
    cpus:
      description: CPUs in the kernel's notation.
      type: str
    nodes:
      description: NUMA nodes whose memory it may use.
      type: str
interrupts:
  description: Interrupts that may still go to serving CPUs, by their file, with the CPUs.
  returned: success
  type: dict
  contains:
    astray:
      description: Those that could be moved; empty after a run outside check mode.
      type: dict
    immovable:
      description: Those that the kernel does not allow to be moved.
      type: dict
boot_parameters:
  description: How O(boot_parameters) compare with the running kernel's command line.
  returned: success
  type: dict
  contains:
    missing:
      description: Those that it was not booted with.
      type: list
      elements: str
    in_vain:
      description: Those of them that GRUB's configuration already had at this boot. Another reboot would not bring
        them.
      type: list
      elements: str
    grub:
      description: Whether C(update-grub) is there.
      type: bool
    file:
      description: What is to become of the role's own file of parameters, V(present) or V(absent); empty to leave it.
      type: str
    may_reboot:
      description: Whether the role may reboot the host.
      type: bool
    reason:
      description: Why the host is to be rebooted by somebody else, where it is.
      type: str
    refusal:
      description: What is said where a boot has not brought the parameters; empty where all are there.
      type: str
remarks:
  description: Why nothing is kept apart, where it is so; the warnings of O(partition); and RV(problems).
  returned: success
  type: list
  elements: str
problems:
  description: Remarks that are not errors, such as processes outside the partition.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import boot_parameters
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import partition as partition_live


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "partition": {"type": "dict", "default": {}},
            "boot_parameters": {"type": "list", "elements": "str", "default": []},
            "reboot_ok": {"type": "bool", "default": False},
            "is_controller": {"type": "bool", "default": False},
            "record": {"type": "path", "default": "/var/lib/tfserving-fleet/partition.json"},
        },
        supports_check_mode=True,
    )
    tree, run = Tree(), process_facts.runner(module)
    host = partition_live.Host(tree, run, module.params["record"], module.check_mode)
    present = module.params["state"] == "present"
    partition = module.params["partition"] if present else partition_live.ABSENT
    wanted = module.params["boot_parameters"] if present else []
    try:
        done = host.bring(partition)
    except (partition_live.PartitionError, RuntimeError, OSError) as error:
        module.fail_json(msg=str(error), parts=host.done.changed, units=host.done.units)
    module.exit_json(
        changed=bool(done.changed),
        parts=done.changed,
        units=done.units,
        interrupts=done.interrupts,
        boot_parameters=boot_parameters.judge(tree, wanted, module.params["reboot_ok"], module.params["is_controller"]),
        remarks=[*partition_live.remarks(partition), *done.problems],
        problems=done.problems,
    )


if __name__ == "__main__":
    main()
