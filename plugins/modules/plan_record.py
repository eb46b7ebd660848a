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
    description: The plan to keep, as returned by the P(tfserving.fleet.host_plan#filter) filter.
    type: dict
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change.
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
  description: RV(plan.server) of the plan before the last change of the release; empty where there was none.
  type: dict
  returned: always
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

# A key of the record that is none of the plan.
PREVIOUS = "previous_server"


def read_record(path: str) -> dict:
    """Return the plan recorded at ``path``, or an empty dictionary when there is none."""
    try:
        with open(path, encoding="utf-8") as record:
            return json.load(record)
    except FileNotFoundError:
        return {}


def separate(record: dict) -> tuple[dict, dict]:
    """Return the plan of a record and what it remembers of the server before."""
    plan = dict(record)
    return plan, plan.pop(PREVIOUS, {})


def next_record(present: dict, wanted: dict) -> dict:
    """Return the record of ``wanted`` after that of ``present``."""
    plan, before = separate(present)
    release = [(each.get("server") or {}).get("release") for each in (plan, wanted)]
    if release[0] and release[0] != release[1]:
        before = plan["server"]
    return {**wanted, **({PREVIOUS: before} if before else {})}


def as_text(plan: dict) -> str:
    """Return the record's text: sorted and indented, so that people and diffs can read it."""
    return json.dumps(plan, indent=2, sort_keys=True) + "\n" if plan else ""


def write_record(module: AnsibleModule, path: str, plan: dict) -> None:
    """Put ``plan`` in place of the record by rename."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    staged = os.path.join(module.tmpdir, "plan.json")
    with open(staged, "w", encoding="utf-8") as record:
        record.write(as_text(plan))
    os.chmod(staged, 0o644)
    module.atomic_move(staged, path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "default": "/etc/tfserving/plan.json"}, "plan": {"type": "dict"}},
        supports_check_mode=True,
    )
    path, wanted = module.params["path"], module.params["plan"]
    try:
        present = read_record(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{path}: cannot be read as a plan ({error}); move it away and run again")
    record = present if wanted is None else next_record(present, wanted)
    plan, before = separate(record)
    if record == present:
        module.exit_json(changed=False, plan=plan, previous_server=before)
    if not module.check_mode:
        write_record(module, path, record)
    diff = {"before": as_text(present), "after": as_text(record), "before_header": path, "after_header": path}
    module.exit_json(changed=True, plan=plan, previous_server=before, diff=diff)


if __name__ == "__main__":
    main()
