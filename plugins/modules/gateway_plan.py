#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the gateway_plan action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_plan
short_description: Plan a gateway from the plans of all serving hosts
version_added: 0.2.0
description:
  - Works out HAProxy's configuration for the host of the task, from the plans of the serving hosts and the variables of
    the role C(gateway), which it reads itself.
  - The plan of a serving host is that of this run (C(tfserving_plan)), else O(records), else O(known). A host of which
    nothing is known is refused, since a gateway without it would take its calls from it.
  - Runs on the controller; no host is contacted.
options:
  version:
    description: The version of the package haproxy that is installed, or is going to be.
    type: str
    default: ""
  only_check:
    description: >-
      Check the variables, the certificates and addresses in them, the names of all hosts, and the addresses and models
      of the serving hosts, and plan nothing.
    type: bool
    default: false
  pattern:
    description: The serving hosts.
    type: raw
    default: tfserving
  gateways:
    description: The gateways, which share the servers.
    type: raw
    default: tfserving_gateways
  records:
    description: Plans read from hosts outside this run, by host; those of hosts that serve nothing are empty.
    type: dict
    default: {}
  known:
    description: What the gateway recorded of the serving hosts when it was last applied.
    type: dict
    default: {}
  rollouts:
    description: The roll-outs under way by model, with the hosts of C(canary) and C(control) and their C(permille).
    type: dict
    default: {}
  states:
    description: >-
      What the gateway has recorded of roll-outs (M(tfserving.fleet.rollout_state)), for those that O(rollouts) does not
      name.
    type: dict
    default: {}
  others:
    description: >-
      Who else listens on ports of the gateway, in words, by port (M(tfserving.fleet.gateway_state)). A port of HAProxy
      that one of them has is refused.
    type: dict
    default: {}
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Plan the gateway
  tfserving.fleet.gateway_plan:
    version: "{{ gateway.packages.haproxy.installed }}"
    known: "{{ gateway.fleet }}"
  register: planned
"""

RETURN = r"""
plan:
  description: The plan, each decision with its reason. It holds no secret.
  type: dict
  returned: success
fleet:
  description: The serving hosts as the gateway knows them, to be recorded on it.
  type: dict
  returned: success
vrrp:
  description: The gateway's part in each of the addresses that move (C(gateway_vips)).
  type: list
  elements: dict
  returned: success
tune:
  description: The plan's settings of HAProxy's buffers and protocols, for M(tfserving.fleet.gateway_probe).
  type: list
  elements: str
  returned: success
ports:
  description: The ports that belong to HAProxy.
  type: list
  elements: int
  returned: success
shares:
  description: The entries of the map of the roll-outs' shares, for M(tfserving.fleet.gateway_state).
  type: dict
  returned: success
"""
