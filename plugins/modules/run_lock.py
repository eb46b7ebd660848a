#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Takes the lock of a host for a run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Take the lock of a host for the length of a run
version_added: 0.2.0
description:
  - There is one lock a host. Whoever changes what serves takes it before anything is changed, so that two runs never
    change a host at the same time.
  - It is given up when the process of C(ansible-playbook) has ended, however it ended. A small process on the
    controller waits for that, and renews the lock until then. A boot of the host clears it, and ten minutes after its
    controller is gone it lapses.
  - A lock whose run was on this very controller and has ended is taken over at once.
options:
  state:
    description: C(held) takes the lock. C(seen) only returns who has it.
    type: str
    choices: [held, seen]
    default: held
  break_lock:
    description: The id of a run that is known to be dead, whose lock may be taken.
    type: str
    default: ""
  holder:
    description: Who takes it. Filled in by the action.
    type: dict
  folder:
    description: Directory of the lock on the host.
    type: path
    default: /run/tfserving-fleet
attributes:
  action:
    support: full
    description: An action plugin that calls the module once, or twice where the last run died.
  check_mode:
    support: full
    description: Takes nothing and refuses nothing in check mode.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Take the lock
  tfserving.fleet.run_lock:
  register: lock

- name: Refuse a host that another run is changing
  ansible.builtin.assert:
    that: lock.refusal == ''
    fail_msg: "{{ lock.refusal }}"
"""

RETURN = r"""
refusal:
  description: The sentence that names the run which holds the lock; empty where the lock is taken, or not wanted.
  type: str
  returned: always
other:
  description: Who else holds the lock; empty if nobody does.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "seen"], "default": "held"},
            "break_lock": {"type": "str", "default": ""},
            "holder": {"type": "dict"},
            "folder": {"type": "path", "default": run_lock.FOLDER},
        },
        supports_check_mode=True,
    )
    given = module.params
    write = given["state"] == "held" and not module.check_mode
    try:
        other = run_lock.take(given["folder"], given["holder"] or {"run": "nobody"}, given["break_lock"], write)
    except OSError as error:
        place = error.filename or given["folder"]
        module.fail_json(msg=f"{place}: the lock of this host cannot be taken ({error.strerror}); check what is there")
    module.exit_json(changed=False, other=other)


if __name__ == "__main__":
    main()
