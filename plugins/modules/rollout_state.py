#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads and keeps on a host where roll-outs stand; how is in module_utils/models/rollout_record.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_state
short_description: Read and keep where the roll-outs of models stand
version_added: 0.2.0
description:
  - Without O(state), returns what the host remembers of roll-outs.
  - With O(state), keeps it durably, unless the host knows a newer one. Writers on a host take turns, so that of two
    runs the one with the newer generation wins, whichever comes first. Of two runs that took over at the same moment,
    the one that takes the roll-out back wins.
options:
  models:
    description: The models to read; all that have a record where none is named.
    type: list
    elements: str
    default: []
  state:
    description: The state to keep, as M(tfserving.fleet.rollout_course) returned it.
    type: dict
  path:
    description: The directory of the records on the host.
    type: path
    default: /var/lib/tfserving-fleet/rollout
attributes:
  check_mode:
    support: full
    description: Says what it would change.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the roll-out
  tfserving.fleet.rollout_state:
    models: [ranker]
  register: rollout_found

- name: Record the roll-out
  tfserving.fleet.rollout_state:
    state: "{{ rollout.state }}"
"""

RETURN = r"""
states:
  description: The states that the host has after the call, by model; of O(state) alone where that is given.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "models": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "dict"},
            "path": {"type": "path", "default": rollout_record.FOLDER},
        },
        supports_check_mode=True,
    )
    state, folder = module.params["state"], module.params["path"]
    try:
        if state is None:
            module.exit_json(changed=False, states=rollout_record.states(module.params["models"], folder))
        counts, is_new = rollout_record.write(state, folder, not module.check_mode)
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{folder}: the state of the roll-out cannot be written ({error.strerror})")
    module.exit_json(changed=is_new, states={state["model"]: counts})


if __name__ == "__main__":
    main()
