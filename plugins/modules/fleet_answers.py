#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the fleet_answers action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_answers
short_description: Refuse to go on without hosts that cannot be reached
version_added: 0.2.0
description:
  - Judges what the first call on each host of a run came to, which is M(tfserving.fleet.run_lock).
  - Refuses where a host cannot be reached, unless O(unreachable) says to go on without it and another host is left.
  - Runs on the controller; no host is contacted.
options:
  answers:
    description: By host the result of the first call, registered with C(ignore_unreachable).
    type: dict
    required: true
  pattern:
    description: The pattern of the fleet's hosts, for the sentence that says how to leave hosts out.
    type: raw
    required: true
  unreachable:
    description: V(leave_out) goes on without hosts that cannot be reached, V(spare) also where none of them can be.
    type: str
    choices: [stop, leave_out, spare]
    default: stop
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Refuse unreachable hosts
  tfserving.fleet.fleet_answers:
    answers: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'lock'))) }}"
    pattern: tfserving
    unreachable: leave_out
  register: judged
  run_once: true

- name: Refuse hosts locked by another run
  ansible.builtin.fail:
    msg: "{{ judged.refused[inventory_hostname] }}"
  when: inventory_hostname in judged.refused
"""

RETURN = r"""
refused:
  description: By host the sentence that refuses the run there.
  type: dict
  returned: success
  sample: {}
left_out:
  description: By host that cannot be reached a sentence that says so.
  type: dict
  returned: success
  sample: {}
summary:
  description: What a run says at its end of the hosts in RV(left_out); empty where there are none.
  type: str
  returned: success
  sample: ""
"""
