#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the optimize_speed action, which runs on the controller, and the load generator on load hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: optimize_speed
short_description: Measure a candidate in turns with its original
version_added: 0.2.0
description:
  - A drained instance serves its model and a candidate of it in turns (A B B A), each as a trial that ends by itself,
    under the same load. The settings of the plan are back at the end, however it ends.
  - The hosts of the load and the measured host have to run at the same time, so Ansible needs as many forks.
options:
  options:
    description: What M(tfserving.fleet.benchmark_wishes) returned under that name, for the purpose V(optimize).
    type: dict
    required: true
  plan:
    description: The entry of the instance in the plan in force.
    type: dict
    required: true
  model:
    description: The model that the candidate takes the place of.
    type: str
    required: true
  base_path:
    description: The base path on the host that has the candidate, under the number of the version in force.
    type: str
    required: true
  flags:
    description: The flags of the server that the candidate needs.
    type: dict
    default: {}
  owner:
    description: An id of this run, by which the host knows its trials.
    type: str
    required: true
  generator:
    description: The fact C(load_generator_result) of the role C(load_generator); not for the measured host.
    type: dict
extends_documentation_fragment: tfserving.fleet.load
attributes:
  check_mode:
    support: none
    description: Without load there is nothing to measure. The task is skipped.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Measure in turns
  tfserving.fleet.optimize_speed:
    options: "{{ benchmark.options }}"
    target: "{{ benchmark_target.targets.A }}"
    plan: "{{ optimize_original.instance }}"
    model: ranker
    base_path: /var/lib/tfserving/models/.optimised-ranker/ranker
    owner: optimize-{{ benchmark.id }}
    load_hosts: "{{ benchmark.load_hosts }}"
    generator: "{{ load_generator_result | default(omit) }}"
"""

RETURN = r"""
rows:
  description: The rows of the verdict on speed, slow calls, memory and loading.
  type: list
  elements: dict
  returned: on the first load host
comparison:
  description: How the candidate compares with the original, as in the document of a benchmark.
  type: dict
  returned: on the first load host
rate:
  description: The rate of the load, in requests a second.
  type: float
  returned: on the first load host
restored:
  description: Whether the settings of the plan serve again.
  type: bool
  returned: on the first load host
"""
