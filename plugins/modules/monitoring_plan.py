# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action monitoring_plan, which runs on the controller only."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_plan
short_description: Plan a monitoring host, or the exporters of a host
version_added: 0.2.0
description:
  - Works out, on the controller, what a host is configured with to watch the fleet or to be watched, from the plans of
    all serving hosts and the role's variables, which it reads where Ansible has them.
  - Refuses in a sentence each what cannot be granted, such as figures that do not fit on the disk.
options:
  part:
    description:
      - V(check) the variables, V(plan) a monitoring host, its V(exporters), or what a Prometheus V(elsewhere) needs.
    type: str
    choices: [check, plan, exporters, elsewhere]
    default: plan
  pattern:
    description: The pattern of the serving hosts.
    type: raw
    default: tfserving
  records:
    description: The plans in force of hosts that this run has not planned, by host.
    type: dict
    default: {}
  state:
    description: What M(tfserving.fleet.monitoring_state) returned for the host.
    type: dict
    default: {}
extends_documentation_fragment: tfserving.fleet.changes_nothing
attributes:
  action:
    support: full
    description: It runs on the controller only.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Plan the monitoring host
  tfserving.fleet.monitoring_plan:
    state: "{{ found }}"
  register: planned
"""

RETURN = r"""
plan:
  description: The plan, without secrets.
  type: dict
  returned: for V(plan) of O(part)
text:
  description: What the fleet takes of disk and memory, each figure with its reason.
  type: str
  returned: for V(plan) of O(part)
files:
  description: The contents of the files. Secret, so the result is never printed.
  type: dict
  returned: for V(plan) and V(elsewhere) of O(part)
wanted:
  description: Whether anybody reads the host's exporters.
  type: bool
  returned: for V(exporters) of O(part)
left:
  description: Whether an earlier run may have left exporters on the host.
  type: bool
  returned: for V(exporters) of O(part)
"""
