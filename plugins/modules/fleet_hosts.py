#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the fleet_hosts action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_hosts
short_description: Refuse a fleet without hosts
version_added: 0.2.0
description:
  - Refuses a pattern that matches no host, a limit that leaves none, and sizes of batches that are none. Ansible passes
    over a play without hosts and ends as if all were well.
  - The sizes are C(fleet_serial) and C(fleet_driver_serial) of the first host, as the playbooks read them.
  - Refuses a job slice of AWX, except where the playbook changes nothing.
  - In a run of C(bin/tfserving-fleet) it tells the runner the version of the collection and the hosts of its slice.
  - Runs on the controller; no host is contacted.
options:
  pattern:
    description: The pattern of the fleet's hosts.
    type: raw
    required: true
  playbook:
    description: The name of the playbook, where a job slice of AWX may run it; any other refuses to be one.
    type: str
    default: ""
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Refuse a fleet without hosts
  tfserving.fleet.fleet_hosts:
    pattern: "{{ fleet_hosts | default('tfserving') }}"
  run_once: true
"""

RETURN = r"""
hosts:
  description: The hosts of the inventory that the pattern matches, whatever the limit.
  type: list
  elements: str
  returned: success
"""
