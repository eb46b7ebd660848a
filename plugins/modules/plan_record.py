#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads and keeps the plan that is in force on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_record
short_description: Read or keep the plan that is in force on a host
version_added: 0.1.0
description:
  - Without O(plan), returns the plan that the last successful run left on the host.
  - With O(plan), keeps it there. It is written last in a run, so that the record never claims what was not proven.
  - Beside the plan it remembers which release of the server was in force before the present one.
options:
  path:
    description: The record on the host.
    type: path
    default: /etc/tfserving/plan.json
  plan:
    description:
      - The plan to keep, as returned by the P(tfserving.fleet.host_plan#filter) filter.
      - Of records of release 0.1.0, which held values of the environment in clear, those values are neither returned
        nor shown as a difference, and the record is written again.
    type: dict
  key_path:
    description:
      - Where the host's key for the plan's digests is. Given, RV(key) is returned, so use it under C(no_log).
      - Nothing is written there. Where there is no key, a new one is returned, for the caller to keep.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what it would change.
  diff_mode:
    support: full
    description: Shows the record before and after.
extends_documentation_fragment: []
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the plan now in force
  tfserving.fleet.plan_record:
  register: record

- name: Record the plan that is now in force
  tfserving.fleet.plan_record:
    plan: "{{ tfserving_plan }}"
"""

RETURN = r"""
plan:
  description: The plan on the host after the call; empty where none was ever recorded.
  type: dict
  returned: always
previous_server:
  description: The C(server) of the plan before the last change of the release; empty where there was none.
  type: dict
  returned: always
key:
  description: The host's key for the plan's digests.
  type: str
  returned: when O(key_path) is given
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import plan_record as plan_store
from ansible_collections.tfserving.fleet.plugins.module_utils.host.plan_key import read_key, without_values
from ansible_collections.tfserving.fleet.plugins.module_utils.host.plan_record import (
    PREVIOUS,
    as_text,
    is_open,
    separate,
)


def next_record(present: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the record of ``wanted`` after that of ``present``."""
    plan, before = separate(present)
    release = [(each.get("server") or {}).get("release") for each in (plan, wanted)]
    if release[0] and release[0] != release[1]:
        before = plan["server"]
    return {**wanted, **({PREVIOUS: before} if before else {})}


def put(module: AnsibleModule, path: str, record: dict[str, Any]) -> None:
    """Write the record, or say why it cannot be."""
    try:
        plan_store.write(path, record)
    except WishError as error:
        module.fail_json(msg=str(error))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/tfserving/plan.json"},
            "plan": {"type": "dict"},
            "key_path": {"type": "path", "no_log": False},
        },
        supports_check_mode=True,
    )
    path, wanted = module.params["path"], module.params["plan"]
    try:
        kept = plan_store.read(path)
        present = without_values(kept)
        key = {"key": read_key(module.params["key_path"])} if module.params["key_path"] else {}
    except WishError as error:
        module.fail_json(msg=str(error))
    record = present if wanted is None else next_record(present, wanted)
    plan, before = separate(record)
    if wanted is None or (record == kept and not is_open(path)):
        module.exit_json(changed=False, plan=plan, previous_server=before, **key)
    if not module.check_mode:
        put(module, path, record)
    diff = {"before": as_text(present), "after": as_text(record), "before_header": path, "after_header": path}
    module.exit_json(changed=True, plan=plan, previous_server=before, diff=diff, **key)


if __name__ == "__main__":
    main()
