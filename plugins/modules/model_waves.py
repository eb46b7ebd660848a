#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the model_waves action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_waves
short_description: Decide which host copies a model version from which
version_added: 0.2.0
description:
  - In each wave every host that has the version sends it to one that lacks it, in its own rack if there is one. So the
    holders double, and 200 hosts have it after eight waves.
  - A pair that fails is tried with others. A host that fails twice takes no further part, and gets the version from its
    source.
  - Without O(state), decides which versions are copied at all and which hosts get them from the controller first. With
    it, takes what M(tfserving.fleet.model_peer) has said of the last wave, and returns the next one.
  - Equal input gives equal waves.
  - In check mode the controller fetches and reads nothing, and knows no version that it would have to fetch first.
  - Runs on the controller; no host is contacted.
options:
  hosts:
    description:
      - What is known of each host of the play, by name.
      - C(models) and C(sources) as M(tfserving.fleet.model_peer) takes them, C(here) as it returns it, C(rack), and
        C(address), without which the host takes no part.
      - With O(state), C(offered) and C(pulled), its results of the last wave.
    type: dict
    required: true
  setting:
    description: V(auto) copies versions of 1 GB or more that four hosts or more lack, V(always) any that two hosts
      lack.
    type: str
    choices: [auto, always, never]
    default: auto
  seeds:
    description: How many hosts get a version from the controller that no host has, at most one of each rack.
    type: int
    default: 1
  rate:
    description: Bytes a second that the estimate reckons with.
    type: float
    default: 62500000
  state:
    description: C(state) of a version as this action has returned it.
    type: dict
  imports:
    description: As M(tfserving.fleet.model_repository) takes it.
    type: path
  download_timeout:
    description: As M(tfserving.fleet.model_repository) takes it.
    type: int
    default: 60
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Decide which versions hosts copy from each other
  tfserving.fleet.model_waves:
    hosts:
      a: {rack: r1, models: "{{ tfserving_plan.models }}", here: {ranker: {"7": published}}}
      b: {rack: r1, models: "{{ tfserving_plan.models }}", here: {ranker: {}}}
    setting: always
  run_once: true
"""

RETURN = r"""
versions:
  description: The versions to copy, each with its C(model), C(version), C(size), C(seeds), C(estimate) in words,
    C(limit_s) of one transfer and C(state).
  returned: without O(state)
  type: list
  elements: dict
nameless:
  description: Hosts that take no part because what should be their address is none, with what it is.
  returned: without O(state)
  type: dict
pairs:
  description: The holder of each reader of the next wave; empty if there is none.
  returned: with O(state)
  type: dict
readers:
  description: The reader of each holder.
  returned: with O(state)
  type: dict
tokens:
  description: The token of each reader's transfer.
  returned: with O(state)
  type: dict
stranded:
  description: Hosts that need the version from its source after all, each with the reason.
  returned: with O(state)
  type: dict
"""
