#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Opens and closes the gates of a host's instances; how is in module_utils/gate."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gate
short_description: Open or close instances to the traffic of gateways
version_added: 0.2.0
description:
  - An instance's gate says whether gateways and other balancers may send it traffic. The companion of the host,
    C(tfserving-gate.service), answers them twice a second.
  - What is closed stays closed over restarts and boots until it is opened, and says who closed it and why.
  - The servers are neither started nor stopped.
options:
  instances:
    description: Instances of this host; empty for all of them.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(open) takes back what holds the instances, as far as O(kind) may. They get traffic once they serve.
      - V(draining) sends no new traffic from gateways. Callers that use no gateway are still served.
      - V(closed) also refuses new connections from outside the host, unless O(until_s) ends it.
      - V(query) changes nothing.
    type: str
    choices: [open, draining, closed, query]
    default: query
  reason:
    description: Why, in a few words. Gateways show it.
    type: str
    default: ""
  by:
    description: Who closes it; whoever runs the playbook by default.
    type: str
    default: ansible
  kind:
    description:
      - What kind of change closes or opens. V(run) neither overwrites nor lifts what a V(rollout) or a V(person) has
        closed, and V(rollout) not what a V(person) has.
    type: str
    choices: [person, run, rollout]
    default: person
  run:
    description: The id of the run that closes.
    type: str
    default: ""
  expires:
    description: Such as V(2h), the time after which the gate counts as open again; never by default.
    type: str
  until_s:
    description: The same in seconds; O(expires) is read on the controller.
    type: float
    default: 0
  wait:
    description:
      - With O(state=draining) and O(state=closed), whether to wait until every gateway has seen the closed gate and no
        call is in flight, at most C(tfserving_drain_timeout_s).
      - With O(state=open), whether to wait until the instances serve and every gateway has seen the open gate, at most
        O(timeout_s).
    type: bool
    default: true
  timeout_s:
    description: Seconds to wait for instances that come back.
    type: float
    default: 60
  force:
    description: Close even if a gateway of the inventory does not ask for the gates, and so may not see them closed.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Refuses what it would refuse, and says whether anything would change.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Take the host out of the traffic before work on it
  tfserving.fleet.gate:
    state: draining
    by: alice
    reason: memory is replaced

- name: Let it back
  tfserving.fleet.gate:
    state: open

- name: Read who is closed, and why
  tfserving.fleet.gate:
  register: gates
"""

RETURN = r"""
instances:
  description: The gates after the call.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The instance., type: str, returned: always}
    open: {description: Whether it may get traffic., type: bool, returned: always}
    state:
      description:
        - V(open), V(draining), V(closed), V(starting), V(leaving), V(stopped) or V(unwell).
        - V(unknown) where the companion does not answer.
      type: str
      returned: always
    words: {description: Who or what holds the gate; empty if it is open., type: str, returned: always}
    by: {description: Who closed it; empty if nobody did., type: str, returned: always}
    since: {description: "When, in seconds since 1970.", type: float, returned: always}
    until: {description: Until when; null for no end., type: float, returned: always}
    proven: {description: What was proven while it left., type: list, elements: str, returned: always}
    unproven: {description: What was not proven in time., type: list, elements: str, returned: always}
    direct_callers:
      description: Addresses that had connections and never asked for the gate.
      type: list
      elements: str
      returned: always
text:
  description: The same for people, a line for each instance and more below it.
  returned: success
  type: str
gateways:
  description: Who asks for the gates; each gateway with its pairs of backend and server, and seconds since they asked.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.deed import carry_out
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.door import Door
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["open", "draining", "closed", "query"], "default": "query"},
            "reason": {"type": "str", "default": ""},
            "by": {"type": "str", "default": "ansible"},
            "kind": {"type": "str", "choices": ["person", "run", "rollout"], "default": "person"},
            "run": {"type": "str", "default": ""},
            "expires": {"type": "str"},
            "until_s": {"type": "float", "default": 0},
            "wait": {"type": "bool", "default": True},
            "timeout_s": {"type": "float", "default": 60},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = carry_out(Door(process_facts.runner(module)), module.params, module.check_mode)
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename}: the gate's record cannot be kept ({error.strerror}); check what is there"
        )
    for instance in result["instances"]:
        for words in instance["unproven"]:
            module.warn(f"instance {instance['name']}: not proven: {words}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
