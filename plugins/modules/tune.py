#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the tune action, which runs on the controller, and the load generator on load hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tune
short_description: Find the settings of an instance by measurement
version_added: 0.2.0
description:
  - Tries settings of an instance under load, one after another, and chooses among them; docs/tuning.md says how. What
    is tried is a trial of M(tfserving.fleet.instance_trial), so no file of the plan changes and the plan's settings
    come back however this ends.
  - Runs on the measured host, which carries out trials, and on all load hosts, of which the first one conducts, at the
    same time.
  - What it has measured is in a journal beside the results, from which an interrupted run goes on.
options:
  options:
    description: What M(tfserving.fleet.benchmark_wishes) returned under that name.
    type: dict
    required: true
  generator:
    description: The fact C(load_generator_result) of the role C(load_generator), on load hosts.
    type: dict
  planned_with:
    description: The fact C(tfserving_planned_with) of the role C(host_plan), of the measured host.
    type: dict
  tuned:
    description: The variable C(tfserving_tuned) of the measured host.
    type: dict
extends_documentation_fragment: tfserving.fleet.load
attributes:
  check_mode:
    support: none
    description: A tuning without load finds nothing. The task is skipped.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Run the trials
  tfserving.fleet.tune:
    options: "{{ benchmark.options }}"
    target: "{{ hostvars[benchmark.host].benchmark_target.targets.A }}"
    load_hosts: "{{ benchmark.load_hosts }}"
    generator: "{{ load_generator_result | default(omit) }}"
    planned_with: "{{ hostvars[benchmark.host].tfserving_planned_with }}"
  become: "{{ inventory_hostname == benchmark.host }}"
"""

RETURN = r"""
files:
  description: The files on the controller; the first is the inventory file, where there is one.
  type: list
  elements: str
  returned: on the first load host
"""
