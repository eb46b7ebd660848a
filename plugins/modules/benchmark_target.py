#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the benchmark_target action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_target
short_description: Find the instances of a benchmark in the plan in force
version_added: 0.2.0
description:
  - Returns what load hosts need to know of the instances of a host, or refuses one that is not planned or does not
    serve.
  - Runs on the controller; no host is contacted.
options:
  options:
    description: What M(tfserving.fleet.benchmark_wishes) returned under that name.
    type: dict
    required: true
  plan:
    description: The plan in force, as M(tfserving.fleet.plan_record) returns it.
    type: dict
    required: true
  sides:
    description: Those of C(sides) of M(tfserving.fleet.benchmark_wishes) that are on this host.
    type: list
    elements: dict
    required: true
  status:
    description: The entries of the instances in what M(tfserving.fleet.instance_status) returns.
    type: list
    elements: dict
    required: true
  conditions:
    description: The conditions that M(tfserving.fleet.host_samples) returns, for each of O(sides) in its order.
    type: list
    elements: dict
    required: true
  address:
    description: The address by which callers reach the host.
    type: str
    required: true
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Check the instance
  tfserving.fleet.benchmark_target:
    options: "{{ benchmark.options }}"
    plan: "{{ record.plan }}"
    sides: "{{ benchmark.sides }}"
    status: "{{ status.instances }}"
    conditions: ["{{ samples.conditions }}"]
    address: "{{ tfserving_address | default(inventory_hostname) }}"
  register: benchmark_target
"""

RETURN = r"""
targets:
  description: By side (V(A), V(B)), the address, ports, model, probe and objective of the instance.
  type: dict
  returned: success
"""
