#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a host tells of one of its instances while that is measured."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_samples
short_description: Read what a host tells of an instance while it is measured
version_added: 0.2.0
description:
  - Returns the conditions of a measurement (what results must agree on to be compared) and, with O(seconds), a sample
    a second of what disturbs a server, such as CPU quotas, pressure, other processes on its CPUs, a hypervisor, slow
    clocks, restarts and reloads.
  - Reads files, so that it costs less than half a percent of a core. Every five seconds the server is asked for its
    versions, which its own counter of requests includes; and every ten C(nvidia-smi) for the GPUs of an instance that
    has some.
  - What a host does not tell (containers, guests without clocks, cgroup v1) is null.
  - Meant to run with C(async) while a load is offered.
options:
  instance:
    description: The name of the instance, of the plan in force.
    type: str
    required: true
  seconds:
    description: For how long to take samples at most. V(0) returns the conditions alone.
    type: int
    default: 0
  memory:
    description:
      - Whether the samples tell what the memory consists of, from C(/proc/PID/smaps_rollup), and what the GPUs of the
        instance hold. Reading takes some ten milliseconds a GiB of small pages, for which the server's own wishes for
        memory may wait, so that it is for traces.
    type: bool
    default: false
  stop_file:
    description:
      - A file that the module makes when it begins, and whose removal ends it within a second. It must not exist.
      - Wait for it where the samples must have begun.
    type: path
  lock:
    description:
      - Directory of a lock that M(tfserving.fleet.run_lock) has taken, usually C(/run/tfserving-fleet). The samples end
        within a second of the end of the run that holds it when they begin, so that an interrupted run leaves no
        sampler behind.
      - If nobody holds it, they end at once.
    type: path
  record:
    description: The plan in force on the host.
    type: path
    default: /etc/tfserving/plan.json
extends_documentation_fragment: tfserving.fleet.changes_nothing.reads
seealso:
  - module: tfserving.fleet.instance_status
  - module: tfserving.fleet.instance_trial
  - module: tfserving.fleet.run_lock
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the conditions of a measurement
  tfserving.fleet.host_samples:
    instance: ranker
  register: before

- name: Take samples while a load is offered
  tfserving.fleet.host_samples:
    instance: ranker
    seconds: 600
    stop_file: /run/tfserving-samples-ranker
    lock: /run/tfserving-fleet
  async: 660
  poll: 0
  register: sampling

- name: End the samples
  ansible.builtin.file:
    path: /run/tfserving-samples-ranker
    state: absent
"""

RETURN = r"""
conditions:
  description:
    - C(plan_digest) (the mark of the process where it runs with other settings than the plan's), C(server_version),
      C(server_id), C(model_versions), C(cpu), C(cpus), C(governor), C(mhz) (lowest, median and highest clock),
      C(clocksource), C(kernel), C(boost) and C(settings) with the C(flags) and C(batching) in force.
  returned: always
  type: dict
samples:
  description:
    - One a second, one for every second, fourth, ... second of more than an hour. Counters are since boot.
  returned: always
  type: list
  elements: dict
  contains:
    at: {description: UNIX seconds., type: float}
    cpu_throttled: {description: How often a CPU quota stopped the server., type: int}
    cpu_throttled_us: {description: For how many microseconds., type: int}
    psi_cpu_us: {description: Microseconds in which a task of the unit's slice waited for a CPU., type: int}
    psi_memory_us: {description: The same for memory., type: int}
    psi_io_us: {description: The same for disks., type: int}
    host_psi_cpu_us: {description: The same of the whole host., type: int}
    host_psi_memory_us: {description: The same for memory., type: int}
    host_psi_io_us: {description: The same for disks., type: int}
    busy_us: {description: Time in which the server's CPUs worked for anybody., type: int}
    steal_us: {description: Time that a hypervisor took of them., type: int}
    total_us: {description: All time of them., type: int}
    own_us: {description: CPU time of the server's process., type: int}
    mhz: {description: "Lowest, median and highest clock of them, every fifth sample.", type: list, elements: int}
    rss_mb: {description: Resident memory of the server in MiB., type: float}
    pid: {description: Its process; null without one., type: int}
    started: {description: "When that started, in ticks since boot.", type: int}
    versions: {description: "Versions that each model serves, where the server was asked.", type: dict}
    gpu: {description: "Clocks and reasons of throttling of the instance's GPUs, where they were asked.", type: list}
    memory:
      description: "With O(memory): C(resident_mb), C(anonymous_mb), C(huge_mb) and C(lazy_mb) of the process, in MiB."
      type: dict
    gpu_memory: {description: "With O(memory): used memory of the instance's GPUs in MiB, by index.", type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.evidence.observe import observe
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 0},
            "memory": {"type": "bool", "default": False},
            "stop_file": {"type": "path"},
            "lock": {"type": "path"},
            "record": {"type": "path", "default": "/etc/tfserving/plan.json"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **observe(module.params, process_facts.runner(module)))
    except (RuntimeError, WishError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
