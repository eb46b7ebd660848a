#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the fleet_turn action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_turn
short_description: Take turns with the other slices of a run
version_added: 0.2.0
description:
  - A fleet in slices is run by several processes of C(ansible-playbook), which C(bin/tfserving-fleet) conducts. This
    talks with it, so that all slices together disturb no more hosts at once than one run would, and none begins a batch
    after a host has failed in any.
  - Does nothing in a run that is not sliced.
  - Runs on the controller; no host is contacted.
options:
  state:
    description:
      - C(ready) waits until every slice has come as far, and says which hosts take part.
      - C(take) waits until the hosts of this batch may be disturbed, C(give) says that they are proven.
      - C(tell) hands over a result that the runner shows once for all slices. C(share) waits until every slice has
        handed over its own, and returns them all.
      - It fails where the run stops.
    type: str
    choices: [ready, take, give, share, tell]
    required: true
  kind:
    description: The kind of work, or of result.
    type: str
    required: true
  hosts:
    description: The hosts that take part, or those of the batch. Those of other slices are left out.
    type: list
    elements: str
    default: []
  drivers:
    description: Hosts whose NVIDIA driver is to be changed, which is never sliced.
    type: list
    elements: str
    default: []
  content:
    description: The result.
    type: dict
    default: {}
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Wait for the turn of this batch
  tfserving.fleet.fleet_turn:
    state: take
    kind: serve
    hosts: "{{ ansible_play_batch }}"
  run_once: true
  register: fleet_turn
"""

RETURN = r"""
serial:
  description: The sizes of the batches of this slice.
  type: list
  elements: int
  returned: in a slice that is ready
leaving:
  description: All hosts that are disturbed now, in any slice.
  type: list
  elements: str
  returned: in a slice whose turn it is
shared:
  description: The results of all slices as one.
  type: dict
  returned: in a slice that shares
"""
