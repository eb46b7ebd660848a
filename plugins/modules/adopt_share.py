#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the adopt_share action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_share
short_description: Move the share of calls from old servers to new instances
version_added: 0.2.0
description:
  - Determines the steps in which gateways give the calls to the new instances of an adoption, writes each share into
    its inventory, and judges the calls of a step as those of a roll-out are judged. The old servers are the control.
  - Runs on the controller; no host is contacted.
options:
  part:
    description: V(course) determines the steps, V(record) writes a share, V(look) judges the calls since the last look.
    type: str
    choices: [course, record, look]
    required: true
  folder:
    description: The folder that M(tfserving.fleet.adopt) wrote. Required except to look.
    type: path
  adopted:
    description: The old servers that gateways call, C(gateway_adopted).
    type: raw
    default: []
  rules:
    description: How steps are judged, with the keys of a model's C(rollout).
    type: raw
    default: {}
  share:
    description: The share that a person chooses, or that is written, in percent.
    type: raw
  models:
    description: The models to look at.
    type: list
    elements: str
    default: []
  answers:
    description: The results of a loop of M(tfserving.fleet.gateway_calls) over the models, by gateway.
    type: dict
    default: {}
  seen:
    description: The RV(seen) of the last look. Calls count from the first look on, which has none.
    type: dict
    default: {}
attributes:
  action:
    support: full
    description: An action plugin without a part on the host.
  check_mode:
    support: full
    description: Does not write the share.
seealso:
  - module: tfserving.fleet.adopt
  - module: tfserving.fleet.gateway_calls
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Determine the steps
  tfserving.fleet.adopt_share:
    part: course
    folder: adopted
    adopted: "{{ gateway_adopted }}"
  run_once: true
  register: adopt_course
"""

RETURN = r"""
now:
  description: The present share in percent.
  returned: to V(course)
  type: int
steps:
  description: The shares that follow.
  returned: to V(course)
  type: list
  elements: int
models:
  description: The models of the old servers.
  returned: to V(course)
  type: list
  elements: str
is_watched:
  description: Whether the steps are judged; a share that a person chooses is not.
  returned: to V(course)
  type: bool
outcome:
  description: C(wait), C(pass), C(held) for a person to decide, or C(back) where the share goes to 0.
  returned: to V(look)
  type: str
seen:
  description: What the next look goes on from.
  returned: to V(look)
  type: dict
wait_s:
  description: After how many seconds to look again.
  returned: to V(look)
  type: int
text:
  description: The same for people.
  returned: to V(course) and V(look)
  type: str
"""
