#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the profile action, which runs on the controller, and the load generator on load hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: profile
short_description: Take a trace of an instance under load
version_added: 0.2.0
description:
  - Drives an instance with the load generator, and asks its profiler for a trace meanwhile
    (C(tensorflow.ProfilerService) on the gRPC port). The profiler has to be open.
  - The server writes the trace on its own host, below the cache directory of its unit. An empty trace is an error.
  - The hosts of the load have to run at the same time, so Ansible needs as many forks.
options:
  options:
    description: What M(tfserving.fleet.benchmark_wishes) returned under that name, for O(options) of a profile.
    type: dict
    required: true
  session:
    description: The name of the trace's folder on the host.
    type: str
    required: true
  generator:
    description: The fact C(load_generator_result) of the role C(load_generator).
    type: dict
    required: true
  state:
    description:
      - V(captured) takes a trace.
      - V(closed) fails unless the server does not know its profiler.
    type: str
    choices: [captured, closed]
    default: captured
extends_documentation_fragment: tfserving.fleet.load
attributes:
  check_mode:
    support: none
    description: Without load there is nothing to trace. The task is skipped.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Record the trace
  tfserving.fleet.profile:
    options: "{{ benchmark.options }}"
    target: "{{ hostvars[benchmark.host].benchmark_target.targets.A }}"
    session: "{{ benchmark.id }}"
    load_hosts: "{{ benchmark.load_hosts }}"
    generator: "{{ load_generator_result }}"
"""

RETURN = r"""
trace:
  description: The path of the trace on the host that served.
  returned: with O(state=captured), on the first load host
  type: str
file:
  description: The path on the controller where xprof looks for it.
  returned: with O(state=captured), on the first load host
  type: str
answered:
  description: How many requests were answered while the load lasted.
  returned: with O(state=captured), on the first load host
  type: int
window:
  description: When the trace began and ended, in UNIX seconds of the controller.
  returned: with O(state=captured), on the first load host
  type: list
  elements: float
closed:
  description: Always true; the task fails otherwise.
  returned: with O(state=closed), on the first load host
  type: bool
"""
