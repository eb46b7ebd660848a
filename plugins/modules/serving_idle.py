#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waits until nobody calls a server that others have set up; how is in module_utils/survey/idle.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_idle
short_description: Wait until nobody calls a server that others have set up
version_added: 0.2.0
description:
  - Looks at the connections to a server in its own network, those of a container included, and waits until none of them
    has carried anything for the longest call. Connections of the host itself do not count.
  - Changes nothing, and fails no run where callers are left; it says who they are.
options:
  pid:
    description: The server's process, as M(tfserving.fleet.serving_survey) tells it.
    type: int
    required: true
  ports:
    description: The ports that it listens on, as its flags say.
    type: list
    elements: int
    required: true
  longest_call_s:
    description: The longest that a call may take, V(0) to V(3600).
    type: int
    default: 30
  seconds:
    description: How long to wait, V(0) to V(3600).
    type: int
    default: 300
extends_documentation_fragment: tfserving.fleet.changes_nothing.reads
seealso:
  - module: tfserving.fleet.serving_survey
  - module: tfserving.fleet.serving_takeover
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Wait for the last call
  tfserving.fleet.serving_idle:
    pid: "{{ old.pid }}"
    ports: [8500, 8501]
  register: old_idle
"""

RETURN = r"""
idle:
  description: Whether nobody calls it any more.
  returned: success
  type: bool
callers:
  description: The addresses of those who do.
  returned: success
  type: list
  elements: str
connections:
  description: How many connections are open, quiet ones included.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import idle


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "pid": {"type": "int", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "longest_call_s": {"type": "int", "default": 30},
            "seconds": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        wanted = idle.check(module.params)
        module.exit_json(changed=False, **idle.wait(wanted, idle.inside(wanted.pid)))
    except WishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
