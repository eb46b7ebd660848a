#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the wishes action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wishes
short_description: Check the variables of all roles at once
version_added: 0.2.0
description:
  - Refuses, all in one message, variables that no role knows, values of the wrong kind, addresses that systemd would
    drop, a certificate that cannot serve, and credentials of registries that cannot be used.
  - Reads the variables of the host where Ansible has them. Contacts no host, and repeats no value that may be secret.
  - What it returns is never printed, since it holds addresses and headers; the message of a failure is.
  - Warns of variables that look like those of the collection and do nothing.
options:
  options:
    description:
      - Variables to check in place of those of the roles, with their argument specs.
    type: dict
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Check the variables of all roles
  tfserving.fleet.wishes:

- name: Check the variables of a playbook
  tfserving.fleet.wishes:
    options:
      bundle_dir: {type: path, required: true}
"""

RETURN = r"""
policy:
  description: What the planner knows beside the host, models and instances; for M(tfserving.fleet.host_plan).
  type: dict
  returned: without O(options)
rollouts:
  description: Names of the models that C(rollout.yml) moves; for M(tfserving.fleet.host_topology).
  type: list
  elements: str
  returned: without O(options)
servers:
  description: Names that the servers take on the host, and their repository; for M(tfserving.fleet.host_check).
  type: dict
  returned: without O(options)
options:
  description: The variables of O(options), each in the type of its spec, with the defaults of those that are not set.
  type: dict
  returned: with O(options)
digest:
  description: Digest of all of them and of the files that they name, where C(fleet_fast) is true; empty where there is
    none, such as for an object of a plugin. For M(tfserving.fleet.fleet_unchanged).
  type: str
  returned: without O(options)
beside:
  description: Addresses and headers of model sources that may be secret, as JSON, where C(fleet_fast) is true. For
    M(tfserving.fleet.fleet_unchanged).
  type: str
  returned: without O(options)
bundle:
  description: What decides which artifacts the host needs; for M(tfserving.fleet.bundle_files).
  type: dict
  returned: without O(options)
"""
