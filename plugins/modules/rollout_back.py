#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the rollout_back action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_back
short_description: Decide the way back of a roll-out, and tell how far it has come
version_added: 0.2.0
description:
  - Reads what M(tfserving.fleet.rollout_return) has registered on hosts as C(rollout_returned), and
    M(tfserving.fleet.rollout_state) as C(rollout_found).
  - Runs on the controller; no host is contacted.
options:
  part:
    description:
      - V(begin) gives the moment of the rollback. V(decide) gives the state that takes the roll-out back, and refuses
        where no host knows of one. V(report) says how many hosts answer with the version of before.
    type: str
    choices: [begin, decide, report]
    required: true
  model:
    description: The model, for V(begin) and V(decide).
    type: str
    default: ""
  reason:
    description: Why it is taken back, for V(decide).
    type: str
    default: ""
  at:
    description: The moment of the rollback, in seconds of the epoch, for V(decide).
    type: float
    default: 0
  began:
    description: When the run began, in seconds of the epoch, for V(report).
    type: float
    default: 0
  state:
    description: The state that takes it back, for V(report).
    type: dict
  hosts:
    description: The hosts whose answers count, for V(decide) and V(report).
    type: list
    elements: str
    default: []
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Count the hosts that answer
  tfserving.fleet.rollout_back:
    part: report
    began: "{{ rollout_called.began }}"
    state: "{{ rollout_decided.state }}"
    hosts: "{{ ansible_play_hosts_all }}"
  register: rollout_answered
  run_once: true
"""

RETURN = r"""
at:
  description: The moment of the rollback, in seconds of the epoch.
  type: float
  returned: for V(begin)
began:
  description: When the run began, in seconds of the epoch.
  type: float
  returned: for V(begin)
state:
  description: The state that takes the roll-out back.
  type: dict
  returned: for V(decide)
decided:
  description: What hosts have to know of it, for M(tfserving.fleet.rollout_return).
  type: dict
  returned: for V(decide)
text:
  description: How many hosts answer with the version of before, and who does not yet.
  type: str
  returned: for V(report)
"""
