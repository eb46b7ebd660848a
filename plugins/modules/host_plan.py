#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the host_plan action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_plan
short_description: Work out how a host serves what its inventory wishes
version_added: 0.2.0
description:
  - Turns the hardware of one host and the users' wishes into the plan that the roles of the collection lay down, as
    P(tfserving.fleet.host_plan#filter) does.
  - Fails with one message that holds everything that is malformed, or that this host cannot grant.
  - Returns what may be secret apart from the plan, which is shown and kept. The result is never printed; the message of
    a failure is, and repeats no value that may be secret.
  - Runs on the controller; no host is contacted.
options:
  topology:
    description: What M(tfserving.fleet.host_topology) returned as RV(tfserving.fleet.host_topology#module:topology).
    type: dict
    required: true
  instances:
    description: The wish C(tfserving_instances). Without any, one instance called V(main) serves all models.
    type: list
    elements: dict
    required: true
  models:
    description: The wish C(tfserving_models).
    type: list
    elements: dict
    required: true
  policy:
    description:
      - Settings of the planner that differ from its defaults, such as C(install_method).
      - C(docs/plan-schema.md) lists them all. Unknown keys are refused.
    type: dict
    default: {}
  key:
    description:
      - The host's key for digests, as M(tfserving.fleet.plan_record) returns it.
      - Without one the plan does not tell values that may be secret apart, and no change of them restarts a server.
    type: str
    default: ""
  host:
    description: What M(tfserving.fleet.host_topology) returned, for O(servers).
    type: dict
    version_added: 0.3.0
  servers:
    description:
      - What M(tfserving.fleet.wishes) returned as RV(tfserving.fleet.wishes#module:servers). With it the host is first
        checked as by M(tfserving.fleet.host_check), in the same task.
    type: dict
    version_added: 0.3.0
extends_documentation_fragment: tfserving.fleet.on_controller
seealso:
  - plugin: tfserving.fleet.host_plan
    plugin_type: filter
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the hardware
  tfserving.fleet.host_topology:
  register: hardware

- name: Plan the host
  tfserving.fleet.host_plan:
    topology: "{{ hardware.topology }}"
    instances: "{{ tfserving_instances }}"
    models: "{{ tfserving_models }}"
    policy: {version: "2.19.1"}
  register: planned
"""

RETURN = r"""
plan:
  description: The plan, schema 1. C(docs/plan-schema.md) explains every key.
  type: dict
  returned: success
secrets:
  description: What the plan leaves out because it may be secret.
  type: dict
  returned: success
  contains:
    key:
      description: O(key).
      type: str
    environment:
      description: The variables that users give to the servers, by instance.
      type: dict
    sources:
      description: C(uri) and C(headers) of the models that are fetched over a network, by model.
      type: dict
    archive:
      description:
        - Where the archive of the server comes from; every text is empty where it is not so.
        - C(local) is its path on the controller, C(brought) where it is put on the host, C(address) what the host
          fetches where a part of it may be secret; C(sha256) and C(binary) are as wished.
      type: dict
"""
