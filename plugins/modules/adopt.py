#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the adopt action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt
short_description: Write an inventory that equals servers that run already
version_added: 0.2.0
description:
  - Judges what M(tfserving.fleet.serving_survey) read on each host (docs/adoption-findings.md), and writes wishes that
    equal the servers in effect, with overrides only where the plan of the host would be another one.
  - Writes a new folder as a whole, for its owner alone, and overwrites nothing. It holds C(inventory/), and the report
    as C(adopt.html), C(adopt.md) and C(adopt.json).
  - Secrets are not written. Where a wish needs one, a template names the variable that a vault has to give.
  - Runs on the controller; no host is contacted.
options:
  folder:
    description: The folder, which must not exist yet.
    type: path
    required: true
  hosts:
    description:
      - The hosts that were asked. Each has the facts C(adopt_survey), the C(survey) of
        M(tfserving.fleet.serving_survey), and C(adopt_topology), the C(topology) of M(tfserving.fleet.host_topology);
        otherwise C(adopt_failure) says why not.
    type: list
    elements: str
    default: []
  state:
    description: V(written) writes the folder. V(free) only refuses one that exists.
    type: str
    choices: [written, free]
    default: written
extends_documentation_fragment: tfserving.fleet.on_controller.files
seealso:
  - module: tfserving.fleet.serving_survey
  - module: tfserving.fleet.serving_takeover
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Write the inventory
  tfserving.fleet.adopt:
    folder: adopted
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
"""

RETURN = r"""
folder:
  description: The folder, as an absolute path.
  returned: success
  type: str
files:
  description: The files in it.
  returned: when O(state) is V(written)
  type: list
  elements: str
findings:
  description: What was found, the worst first, with C(id), C(severity), C(host), C(server), C(text) and C(remedy).
  returned: when O(state) is V(written)
  type: list
  elements: dict
"""
