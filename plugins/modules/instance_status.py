#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what the instances of a host really are: process, CPUs, memory, models, latency."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_status
short_description: Read what the instances of a host really are
version_added: 0.1.0
description:
  - Reads systemd, C(/proc) and the server itself, and compares what it finds with the plan.
  - Never fails because an instance is down. Anything wrong is in C(problem).
  - Changes nothing. A model that answers predictions is asked for a few of them.
options:
  probe_count:
    description:
      - How many predictions to time for each model, after one that does not count. V(0) asks for none.
    type: int
    default: 5
extends_documentation_fragment:
  - tfserving.fleet.changes_nothing.reads
  - tfserving.fleet.serving_plan
seealso:
  - module: tfserving.fleet.model_status
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the state of the instances
  tfserving.fleet.instance_status:
    instances: "{{ tfserving_plan.instances }}"
    models: "{{ tfserving_plan.models }}"
  register: status

- name: Show problems
  ansible.builtin.debug:
    msg: "{{ status.instances | selectattr('problem') | items2dict(key_name='name', value_name='problem') }}"
"""

RETURN = r"""
instances:
  description: One entry per instance, in the order of the plan. Fields of a process are left out where none runs.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: The instance., type: str}
    unit: {description: Its unit., type: str}
    state: {description: The unit's state and sub-state as systemd names them., type: str, sample: active (running)}
    restarts: {description: How often systemd started it again by itself., type: int}
    ports: {description: The ports of the plan., type: dict, sample: {grpc: 8500, rest: 8501}}
    gate:
      description: Why the instance gets no traffic; empty where its gate is open. Left out where it has none.
      type: str
    pid: {description: The main process; 0 without one., type: int}
    started_at: {description: When the process started (ISO 8601 in UTC)., type: str, sample: "2026-01-31T12:00:00Z"}
    version: {description: The version that the unit's binary reports., type: str, sample: 2.19.1}
    cpus: {description: CPUs that the main process may use., type: str, sample: 2-9}
    cpus_agree: {description: Whether every thread may use exactly these., type: bool}
    nodes: {description: NUMA nodes whose memory it may use., type: str, sample: "0"}
    allocator:
      description: The allocator that is really mapped, V(jemalloc), V(tcmalloc), V(mimalloc), V(glibc) or V(unknown).
      type: str
    malloc_conf: {description: C(MALLOC_CONF) of the running process., type: str}
    rss_mb: {description: Resident memory in MiB., type: int}
    threads: {description: Number of threads., type: int}
    models:
      description:
        - Per model its C(name), C(versions) and, where it was asked, C(probe) with the fastest (C(latency_ms)) and the
          median (C(median_ms)) time of a prediction in milliseconds.
      type: list
      elements: dict
    problem: {description: What is wrong; empty if nothing is., type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import told
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.inspector import Inspector


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict", "required": True},
            "models": {"type": "list", "elements": "dict", "default": []},
            "model_root": {"type": "path", "default": defaults.MODELS},
            "unit_template": {"type": "str", "default": "tfserving@{name}.service"},
            "probe_count": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    wishes, run = module.params, process_facts.runner(module)
    inspector = Inspector(
        run,
        wishes["unit_template"],
        wishes["model_root"],
        max(wishes["probe_count"], 0),
        wishes["models"],
        _gates(module),
    )
    module.exit_json(changed=False, instances=[inspector.inspect(entry) for entry in wishes["instances"]])


def _gates(module: AnsibleModule) -> dict[str, str]:
    try:
        return told.words()
    except RuntimeError as error:
        module.warn(str(error))
        return {}


if __name__ == "__main__":
    main()
