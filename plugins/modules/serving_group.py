#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Creates the group of all servers of a host, and makes sure that it has no other members."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: serving_group
short_description: Create the servers' group, or refuse one with another owner
version_added: 0.2.0
description:
  - Each instance has an account of its own, which systemd makes as it starts; the group is what they have in common.
    The kernel recognises them by it, and it opens model stores that are closed to other accounts.
  - A group that is there is taken when it is a system group without members and without rights of its own, and is
    refused otherwise. So is an instance whose account is there already, for systemd would run it as that.
options:
  name:
    description: Name of the group.
    type: str
    required: true
  instances:
    description: Names of the instances that are going to run.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Checks all the same, and says whether the group would be created.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Create the group of the servers
  tfserving.fleet.serving_group:
    name: tfserving
    instances: [ranker]
"""

RETURN = r"""
gid:
  description: Number of the group; absent in check mode where it would be created.
  returned: where the group is there
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import account_entries, accounts


def execute(module: AnsibleModule) -> dict[str, Any]:
    """Check, and create the group where it is missing; return the module's result."""
    name, instances = module.params["name"], module.params["instances"]
    group = account_entries.group_of(name)
    known = account_entries.accounts_of(group, instances)
    accounts.check_group(name, group, known)
    accounts.check_instances(instances, known)
    if group is None and not module.check_mode:
        module.run_command(["groupadd", "--system", name], check_rc=True)
        group = account_entries.group_of(name)
    return {"gid": group.gid} if group else {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "instances": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    before = account_entries.group_of(module.params["name"])
    try:
        result = execute(module)
    except WishError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=before is None, **result)


if __name__ == "__main__":
    main()
