#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the benchmark action, which runs on the controller, and the load generator on load hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Measure an instance under load
version_added: 0.2.0
description:
  - Runs the load generator on all load hosts together, stage by stage, and judges each stage. It sends no load before
    every load host reaches the server and every request fits the model's signature.
  - Tells its progress in the terminal. After each stage the results so far are in a file on the controller, so that an
    interrupted run loses nothing.
  - The load ends by itself soon after the run does, however that ends.
  - The hosts of a benchmark have to run at the same time, so Ansible needs as many forks.
options:
  options:
    description: What M(tfserving.fleet.benchmark_wishes) returned under that name.
    type: dict
    required: true
  other:
    description: Another instance, described in the same way, to be measured in turns with the first one.
    type: dict
  generator:
    description: The fact C(load_generator_result) of the role C(load_generator).
    type: dict
    required: true
extends_documentation_fragment: tfserving.fleet.load
attributes:
  check_mode:
    support: none
    description: A benchmark without load measures nothing. The task is skipped.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Run the benchmark
  tfserving.fleet.benchmark:
    options: "{{ benchmark.options }}"
    target: "{{ hostvars[benchmark.host].benchmark_target.targets.A }}"
    load_hosts: "{{ benchmark.load_hosts }}"
    generator: "{{ load_generator_result }}"
"""

RETURN = r"""
file:
  description: The file on the controller with the results so far, for M(tfserving.fleet.benchmark_report).
  type: str
  returned: on the first load host
"""
