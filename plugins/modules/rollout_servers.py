#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads which processes serve in a roll-out, and asks them golden requests; how is in module_utils/serving/pulse.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_servers
short_description: Look at the servers of a roll-out
version_added: 0.2.0
description:
  - Returns which process each instance has, so that a restart is seen. The server is not asked for that.
  - With O(golden), sends these requests to each instance over REST and counts the wrong answers.
options:
  instances:
    description: The REST port of each instance of this host that is to be looked at.
    type: dict
    required: true
  model:
    description: The model that golden requests are for.
    type: str
    default: ""
  golden:
    description:
      - Golden requests of the model, as the plan has them, to be sent to each instance one after another. Those that do
        not fit into 30 seconds are left out.
    type: list
    elements: dict
    default: []
extends_documentation_fragment: tfserving.fleet.changes_nothing.reads
seealso:
  - module: tfserving.fleet.rollout_watch
  - module: tfserving.fleet.instance_status
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Look at the canary
  tfserving.fleet.rollout_servers:
    instances: {ranker: 8501}
  register: servers
"""

RETURN = r"""
servers:
  description: The C(process) of each instance, V(gone) without one, and C(calls), always 0.
  type: dict
  returned: always
golden:
  description: For each instance how many golden requests were answered, and how many of them wrongly.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import pulse


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "dict", "required": True},
            "model": {"type": "str", "default": ""},
            "golden": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    wish = module.params
    try:
        ports = {name: int(port) for name, port in wish["instances"].items()}
    except (TypeError, ValueError):
        module.fail_json(msg="instances: holds a port that is no number; give the REST port of each instance")
    servers = pulse.processes(list(ports))
    golden = pulse.ask(ports, wish["model"], wish["golden"])
    module.exit_json(changed=False, servers=servers, golden=golden)


if __name__ == "__main__":
    main()
