#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the gateway_capacity action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_capacity
short_description: Refuse to take servers out of the traffic that the others could not carry
version_added: 0.2.0
description:
  - Fails if a model would have no server left that gateways send traffic to, or if the calls in progress and in the
    queues would take more than four fifths of the places of the remaining ones.
  - Fails as well if the HAProxy of a gateway runs and does not answer.
  - Every gateway is judged for itself, as each has its own part of a server's places. Servers that get no traffic
    anyway are no loss.
  - Runs on the controller; no host is contacted.
options:
  gateways:
    description: The results of M(tfserving.fleet.gateway_state) in a loop over the gateways.
    type: list
    elements: dict
    required: true
  hosts:
    description: The hosts that leave.
    type: list
    elements: str
    required: true
  instances:
    description: The instances that leave on each of them, one after another; empty for all at once.
    type: list
    elements: str
    default: []
  allow_outage:
    description: Warn instead.
    type: bool
    default: false
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the load of the gateways
  tfserving.fleet.gateway_state:
  delegate_to: "{{ item }}"
  loop: "{{ groups.tfserving_gateways }}"
  register: gateways

- name: Refuse an outage
  tfserving.fleet.gateway_capacity:
    gateways: "{{ gateways.results }}"
    hosts: "{{ ansible_play_batch }}"
"""
