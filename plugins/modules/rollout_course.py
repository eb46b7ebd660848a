#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the rollout_course action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_course
short_description: Decide what a roll-out does next
version_added: 0.2.0
description:
  - Decides from what the hosts have recorded of a roll-out, and from what the inventory wishes, with which state a run
    goes on. What cannot be is refused in one sentence. The caller records it with M(tfserving.fleet.rollout_state).
  - Runs on the controller; no host is contacted.
options:
  event:
    description:
      - What has happened.
      - V(begin) begins a roll-out, or goes on with one that is under way, from the place that the hosts have recorded.
      - V(arm) gives the gateways the arms of O(round), V(ready) says that their hosts have loaded the version.
      - V(advance) ends a stage or a step that has passed, V(finish) the last stage.
      - V(failed) is a failed task. With O(version_failed) and O(auto_revert) the roll-out is taken back and the version
        remembered, else it is held. V(blamed) takes it back in any case.
      - V(rollback) is a person who takes it back. It wins over any run.
      - V(check) refuses to go on where a host of O(answers) knows a state that has won over O(state), or has failed to
        record it. V(failed) goes on from the furthest state of the run in O(answers).
      - V(status) describes all roll-outs that are under way, V(told) the one of O(state).
    type: str
    choices: [begin, rollback, arm, ready, check, status, told, advance, failed, blamed, finish]
    required: true
  model:
    description: The model, for V(begin) and V(rollback).
    type: str
    default: ""
  answers:
    description: What M(tfserving.fleet.rollout_state) has returned, by host.
    type: dict
    default: {}
  plans:
    description: The plans in force, by host, for V(begin).
    type: dict
    default: {}
  state:
    description: The present state.
    type: dict
  round:
    description: One of RV(rounds), for V(arm) and V(ready).
    type: dict
    default: {}
  reason:
    description: Why, for V(failed), V(blamed) and V(rollback).
    type: str
    default: ""
  version_failed:
    description: Whether the new version itself did not load or answer, for V(failed).
    type: bool
    default: false
  auto_revert:
    description: The wish C(rollout.auto_revert), for V(failed).
    type: bool
    default: true
  promote:
    description: Take the present step as passed, for V(begin).
    type: bool
    default: false
  pattern:
    description: The pattern of the fleet's hosts.
    type: raw
    default: tfserving
  gateways:
    description: The pattern of the gateways.
    type: raw
    default: tfserving_gateways
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Find the next stage
  tfserving.fleet.rollout_course:
    event: begin
    model: ranker
    answers: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'rollout_found'))) }}"
    plans: "{{ plans }}"
  register: rollout
  run_once: true
"""

RETURN = r"""
state:
  description: The state that follows, to be recorded on every host and gateway before the next step.
  type: dict
  returned: success, but for V(status) and V(told)
text:
  description: Where the roll-out stands, and with V(begin) what is about to happen, in words.
  type: str
  returned: success
loading:
  description: The stage of C(host_plan_rollout) in which a canary host answers with the new version.
  type: str
  returned: success, but for V(status) and V(told)
problem:
  description: Why a run that ends in this state has failed, and what to do; empty where it has not.
  type: str
  returned: for V(told)
rounds:
  description:
    - The steps that are left, in rounds with the same hosts in both arms. Each has the places C(first) and C(last) of
      its steps, the hosts C(canary) and C(control), and the C(batches) of hosts that load the version before.
    - C(is_gated) says whether they leave the traffic meanwhile, C(is_watched) whether there are calls to judge.
  type: list
  elements: dict
  returned: for V(begin)
hosts:
  description: The hosts that serve the model and can be reached.
  type: list
  elements: str
  returned: for V(begin) and V(rollback)
instances:
  description: For each host its instances that serve the model.
  type: dict
  returned: for V(begin)
gateways:
  description: The gateways.
  type: list
  elements: str
  returned: for V(begin)
stages_of_hosts:
  description: For each of RV(hosts) the stage of its plan.
  type: dict
  returned: for V(begin)
wish:
  description: The wish C(rollout) of the model with its defaults; times in seconds.
  type: dict
  returned: for V(begin)
"""
