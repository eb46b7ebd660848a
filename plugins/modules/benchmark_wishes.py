#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the benchmark_wishes action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_wishes
short_description: Check the variables of a benchmark and find its hosts
version_added: 0.2.0
description:
  - Reads the variables that C(playbooks/benchmark.yml) is given with C(-e), and refuses wrong and misspelt ones in one
    message.
  - The host to measure is the one that is asked for, or the first with the instance. The load comes from the hosts of
    the group C(tfserving_load), or from the controller.
  - Another instance to measure in turns with it is on the host that is asked for, on the same host, or on the first one
    that has it.
  - Runs on the controller; no host is contacted.
options:
  pattern:
    description: The pattern of the fleet's hosts.
    type: raw
    required: true
  purpose:
    description: What the measurement is for, which decides about defaults.
    type: str
    choices: [benchmark, tune, profile, optimize]
    default: benchmark
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Check the variables and find the hosts
  tfserving.fleet.benchmark_wishes:
    pattern: tfserving
  register: benchmark
  run_once: true
"""

RETURN = r"""
options:
  description: The benchmark as asked for, with its defaults; times in seconds.
  type: dict
  returned: success
earlier:
  description: The file of an earlier run to compare with, or null.
  type: str
  returned: success
host:
  description: The host to measure.
  type: str
  returned: success
hosts:
  description: All hosts that are measured, that one first.
  type: list
  elements: str
  returned: success
sides:
  description:
    - What is measured, as C(side), C(instance) and C(host). V(A) is the instance that is asked for, V(B) the one to
      measure in turns with it, if any.
  type: list
  elements: dict
  returned: success
load_hosts:
  description: The hosts that send the load.
  type: list
  elements: str
  returned: success
controller:
  description: Whether the load comes from the controller.
  type: bool
  returned: success
longest_s:
  description: Seconds that the load lasts at most.
  type: int
  returned: success
id:
  description: An id of this benchmark, for files that are its own.
  type: str
  returned: success
"""
