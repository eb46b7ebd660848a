#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares a host with its record of the last run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_unchanged
short_description: Find out whether a whole run would change a host
version_added: 0.3.0
description:
  - Repeats on the host, in check mode and in one call, what the modules of a whole run compare, and compares what each
    finds with the record of the last run.
  - A host is unchanged only if every check has run, none of them would change anything, and each has found what it
    found when the record was written. Anything else, a check that fails included, makes it a changed host.
  - Nothing on the host is changed but the record.
options:
  state:
    description:
      - V(compared) compares the host with its record, and has unchanged hosts join a group.
      - V(recorded) looks at the host and writes the record, or removes it where a whole run would change anything.
    type: str
    choices: [compared, recorded]
    default: compared
  wishes:
    description: Digest of what the host is to be, as M(tfserving.fleet.wishes) returns it.
    type: str
    required: true
  checks:
    description: The arguments of each check, by its name, for O(state=recorded). See the page about fast runs.
    type: dict
    default: {}
  beside:
    description:
      - What the check of models takes and no record has, since it may be secret, as JSON. M(tfserving.fleet.wishes)
        returns it.
    type: str
    default: "{}"
  group:
    description:
      - The group that unchanged hosts join, for O(state=compared). They join one of two below it, which end in
        C(_watched) for hosts with exporters, and in C(_alone).
    type: str
    default: fleet_unchanged
  with_plan:
    description:
      - Whether to return the plan in force, as gateways and monitoring hosts are planned from it. That of a host with
        exporters is always returned.
    type: bool
    default: true
  path:
    description: The record.
    type: path
    default: /var/lib/tfserving-fleet/unchanged.json
attributes:
  action:
    support: full
    description: An action plugin that calls the module once, and has unchanged hosts join the group.
  check_mode:
    support: full
    description: Compares as ever in check mode, and writes no record.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Compare the host with its record
  tfserving.fleet.fleet_unchanged:
    wishes: "{{ wishes.digest }}"
  register: compared
"""

RETURN = r"""
unchanged:
  description: Whether a whole run would change nothing.
  type: bool
  returned: success
why:
  description: The first thing that makes it a changed host; empty for one that is unchanged.
  type: str
  returned: success
told:
  description: RV(why) with the host's name, for people; empty for an unchanged host.
  type: str
  returned: success
watched:
  description: Whether the plan of an unchanged host has exporters, which are not compared.
  type: bool
  returned: with O(state=compared)
plan:
  description: The plan in force on an unchanged host; empty elsewhere, and without O(with_plan).
  type: dict
  returned: with O(state=compared)
status:
  description: What M(tfserving.fleet.instance_status) returns, for an unchanged host.
  type: dict
  returned: with O(state=compared)
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged import comparison
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged.checks import Host


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["compared", "recorded"], "default": "compared"},
            "wishes": {"type": "str", "required": True},
            "checks": {"type": "dict", "default": {}},
            # One text: in a mapping, Ansible would mask each value, even "1", wherever it occurs in the result.
            "beside": {"type": "str", "default": "{}", "no_log": True},
            "group": {"type": "str", "default": "fleet_unchanged"},
            "with_plan": {"type": "bool", "default": True},
            "path": {"type": "path", "default": comparison.PATH},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    if module.params["state"] == "recorded":
        record(module)
    compare(module)


def host(module: AnsibleModule) -> Host:
    """Return the host, for whose models all that may be secret is at hand."""
    try:
        beside = json.loads(module.params["beside"])
    except ValueError:
        beside = None
    if not isinstance(beside, dict):
        module.fail_json(msg="beside: is not the JSON of a mapping; give what the action wishes returns")
    return Host(module, beside)


def record(module: AnsibleModule) -> None:
    """Write the record, or remove it, and end the module."""
    content, why = comparison.record(host(module), module.params["checks"], module.params["wishes"])
    if not module.check_mode:
        try:
            comparison.store(module.params["path"]).save(content)
        except OSError as error:
            module.fail_json(msg=f"{module.params['path']}: {error.strerror}; check that host's files")
    # Like the proof of a version, it says what was seen; nothing but this module reads it.
    module.exit_json(changed=False, unchanged=not why, why=why)


def compare(module: AnsibleModule) -> None:
    """Compare the host with its record, and end the module."""
    here = host(module)
    try:
        known = comparison.store(module.params["path"]).load()
    except WishError:
        known = None
    why = comparison.compare(here, known, module.params["wishes"])
    watched = bool(not why and here.plan.get("monitoring"))
    plan = here.plan if not why and (watched or module.params["with_plan"]) else {}
    status = {} if why else {"instances": here.status}
    module.exit_json(changed=False, unchanged=not why, why=why, watched=watched, plan=plan, status=status)


if __name__ == "__main__":
    main()
