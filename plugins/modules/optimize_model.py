#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the optimize_model action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: optimize_model
short_description: Take a step of an optimization on the controller
version_added: 0.2.0
description:
  - The steps of C(playbooks/optimize_model.yml) between those of the builder and of the measured host. They hand each
    other what is large in a folder of the run, which Ansible removes.
  - Runs on the controller; no host is contacted.
options:
  step:
    description:
      - V(wishes) checks the variables given with C(-e), and finds the builder.
      - V(original) says which version of which model the instance serves.
      - V(requests) chooses the candidates, and writes the requests that they are asked.
      - V(judge) puts the answers of a candidate through the gate.
      - V(conclude) chooses the best candidate that has passed, publishes it as a new version, and writes the report.
    type: str
    choices: [wishes, original, requests, judge, conclude]
    required: true
  wish:
    description: What V(wishes) returned under that name; for all other steps.
    type: dict
  given:
    description: What the hosts and the builder have told so far.
    type: dict
    default: {}
attributes:
  action:
    support: full
    description: An action plugin without a part on the host.
  check_mode:
    support: none
    description: Nothing is built in check mode, so there is nothing to judge or to publish.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Check the variables
  tfserving.fleet.optimize_model:
    step: wishes
  register: optimization
  run_once: true
"""

RETURN = r"""
wish:
  description: The optimization as asked for, with its defaults.
  type: dict
  returned: with O(step=wishes)
builder:
  description: The host that builds.
  type: str
  returned: with O(step=wishes)
work:
  description: The folder of this run on the controller.
  type: str
  returned: with O(step=wishes)
instance:
  description: The entry of the instance in the plan in force.
  type: dict
  returned: with O(step=original)
model:
  description: The model that is made faster.
  type: str
  returned: with O(step=original)
version:
  description: The version that is served, or the number of the published one; null if none is published.
  type: int
  returned: with O(step=original) or O(step=conclude)
base_path:
  description: The base path of the model on its host.
  type: str
  returned: with O(step=original)
candidates:
  description: The candidates to build, as C(kind), C(recipe), C(flags) and C(reason).
  type: list
  elements: dict
  returned: with O(step=requests)
refused:
  description: Why the others that were asked for are not built, by kind.
  type: dict
  returned: with O(step=requests)
parts:
  description: The files of requests, as C(name), C(file) and the C(batch_sizes) to answer them at.
  type: list
  elements: dict
  returned: with O(step=requests)
described:
  description: What a report says of the requests.
  type: dict
  returned: with O(step=requests)
limits:
  description: The C(memory_mb) and the C(seconds) that the builder may use.
  type: dict
  returned: with O(step=requests)
digest:
  description: The SHA-256 of the original's files.
  type: str
  returned: with O(step=requests)
entry:
  description: The candidate with the rows of its verdict.
  type: dict
  returned: with O(step=judge)
text:
  description: The result for the terminal.
  type: str
  returned: with O(step=conclude)
document:
  description: The document of the optimization.
  type: dict
  returned: with O(step=conclude)
"""
