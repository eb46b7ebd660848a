#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the rollout_watch action, which runs on the controller, and other modules on the hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_watch
short_description: Give a new version its share of the traffic, and judge it
version_added: 0.2.0
description:
  - Raises the share of the calls that the canary of a roll-out gets, step by step, as long as its errors, its slow
    calls, its golden requests and its restarts are no worse than the control's. Takes the share to 0 on all gateways
    when they are. docs/rollout-statistics.md says how that is judged.
  - Runs on all gateways and on the hosts of both arms at the same time; the first gateway conducts. Of the hosts, as
    many are looked at as Ansible may run at the same time (C(forks)). On the others nothing is done.
  - If the wish does not say from where on a call is slow, the p99 of the control in the first step says it, for the
    whole roll-out.
  - Each state is recorded on the hosts before what follows from it. A run that was killed goes on from there, and a run
    with a newer generation ends this one.
options:
  state:
    description: The state of the roll-out, in the stage C(share).
    type: dict
    required: true
  wish:
    description: The wish C(rollout) of the model, with its defaults.
    type: dict
    required: true
  gateways:
    description: All gateways, by their names in the inventory.
    type: list
    elements: str
    required: true
  arms:
    description: The hosts of C(canary) and C(control), by their names in the inventory.
    type: dict
    required: true
  last_step:
    description: The place of the last of the steps for which the hosts of the arms are ready. The first is V(0).
    type: int
    required: true
  plan:
    description:
      - The plan of this host, which tells its instances and the model's golden requests. Those are sent while callers
        are too few. Hosts that are gateways only have none.
    type: dict
    default: {}
attributes:
  action:
    support: full
    description: Runs on the controller and has other modules run on the hosts.
  check_mode:
    support: none
    description: There is nothing to watch without a change. The task is skipped.
seealso:
  - module: tfserving.fleet.gateway_calls
  - module: tfserving.fleet.rollout_servers
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Let callers decide
  tfserving.fleet.rollout_watch:
    state: "{{ course.state }}"
    wish: "{{ course.wish }}"
    gateways: "{{ groups['tfserving_gateways'] }}"
    arms: "{{ course.arms }}"
    last_step: "{{ course.last_step }}"
    plan: "{{ tfserving_plan | default({}) }}"
  register: watched
"""

RETURN = r"""
ended:
  description: >-
    V(rest) if all steps have passed, V(arms) if the next step takes other hosts, V(held) if a person has to decide,
    V(reverting) if the version is taken back, V(overtaken) if another run has it.
  type: str
  returned: on the first gateway
state:
  description: The state of the roll-out then.
  type: dict
  returned: on the first gateway
sentence:
  description: Why, with the numbers.
  type: str
  returned: on the first gateway
missed:
  description: Gateways that have not taken the share of 0.
  type: list
  elements: str
  returned: on the first gateway
"""
