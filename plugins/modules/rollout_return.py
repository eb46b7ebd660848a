#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Takes a roll-out back on one host, in one call; how is in module_utils/serving/way_back.py and models/."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_return
short_description: Take a roll-out back on one host, as fast as it can be
version_added: 0.2.0
description:
  - Does in one call what a host has to do for calls to be answered by the version of before, and takes no lock of a run
    for it. What cannot be done that fast is left to the roles behind, and said.
  - Puts the rollback in force in the host's record of the roll-out first. Its generation is newer than that of any run.
  - On a gateway, sets the share of the model to zero, in the file of the map and in the running process.
  - On a serving host whose server has the version of before, loaded or on disk, changes the versions of the model in
    the files of the instances in one step, has the servers take them in, and waits until that version alone answers.
    Versions that are served beside those of the roll-out stay, with their labels.
  - Twice in a row is fine. A host without a record, of a fleet without a roll-out of the model, is left alone.
options:
  model:
    description: The model.
    type: str
    required: true
  reason:
    description: Why it is taken back.
    type: str
    default: taken back by hand
  at:
    description: When that was decided, in seconds of the epoch.
    type: float
    required: true
  decided:
    description:
      - The way back, as other hosts have it. Without it, or where this host knows a newer one, the last roll-out that
        this host knows is taken back. A host that has been in another roll-out goes the same way, and its record is
        left alone.
    type: dict
    suboptions:
      generation: {description: Its generation., type: int, required: true}
      old: {description: The version of before., type: int, required: true}
      new: {description: The version that is taken back., type: int, required: true}
  serves:
    description: Whether the host may have instances that serve the model.
    type: bool
    default: true
  shares:
    description: The map of shares of a gateway; empty on a host that is none.
    type: str
    default: ""
  seconds:
    description: How long to wait for the version of before.
    type: float
    default: 12
  path:
    description: The directory of the records of roll-outs.
    type: path
    default: /var/lib/tfserving-fleet/rollout
  config_root:
    description: The directory of the instances' files.
    type: path
    default: /etc/tfserving
  state_path:
    description: Where the records of the trees of files are.
    type: path
    default: /var/lib/tfserving-fleet/trees
  model_root:
    description: The directory of the models, for instances whose configuration does not say it.
    type: path
    default: /var/lib/tfserving/models
  socket:
    description: The socket of the gateway's worker.
    type: path
    default: /run/haproxy/admin.sock
attributes:
  check_mode:
    support: full
    description: Says what it would change.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Return to the version before
  tfserving.fleet.rollout_return:
    model: ranker
    reason: wrong scores
    at: 1795807200.0
"""

RETURN = r"""
old:
  description: The version that the host goes back to; null where there is nothing to take back.
  type: int
  returned: always
state:
  description: The state of the roll-out, where the host has decided it by itself; else null.
  type: dict
  returned: always
instances:
  description:
    - The instances that serve the model, each with its C(name), C(answers), whether the version of before alone
      answers, C(words), why not, and C(states), what the server says of the model's versions.
  type: list
  elements: dict
  returned: always
share:
  description: Whether the share is zero on a gateway.
  type: bool
  returned: always
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import maps, runtime
from ansible_collections.tfserving.fleet.plugins.module_utils.host.process import runner
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.versions_text import Move
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.way_back import Place, WayBack

_NUMBER = {"type": "int", "required": True}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "str", "required": True},
            "reason": {"type": "str", "default": "taken back by hand"},
            "at": {"type": "float", "required": True},
            "decided": {"type": "dict", "options": dict.fromkeys(("generation", "old", "new"), _NUMBER)},
            "serves": {"type": "bool", "default": True},
            "shares": {"type": "str", "default": ""},
            "seconds": {"type": "float", "default": 12},
            "path": {"type": "path", "default": rollout_record.FOLDER},
            "config_root": {"type": "path", "default": defaults.CONFIG},
            "state_path": {"type": "path", "default": Place.trees},
            "model_root": {"type": "path", "default": defaults.MODELS},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
        },
        supports_check_mode=True,
    )
    wish, check = module.params, module.check_mode
    result: dict[str, Any] = {"changed": False, "old": None, "state": None, "instances": [], "share": False}
    try:
        back = rollout_record.taking_back(
            wish["model"], wish["decided"], wish["reason"], wish["at"], wish["path"], not check
        )
    except WishError as error:
        module.fail_json(msg=str(error), **result)
    except OSError as error:
        module.fail_json(
            msg=f"{wish['path']}: the state of the roll-out cannot be written ({error.strerror})", **result
        )
    if back is None:
        module.exit_json(**result)
        return
    is_own = back.state and (not wish["decided"] or back.state["generation"] > wish["decided"]["generation"])
    # Whole states are long, and 200 hosts would send the same.
    result.update(changed=back.changed, old=back.old, state=back.state if is_own else None)
    # Before anything else; but what is wrong with it keeps no server of this host on the bad version.
    problem = ""
    if wish["shares"]:
        try:
            zero = {wish["shares"]: {wish["model"]: "0"}}
            result["changed"] |= bool(maps.put(zero, partial(runtime.ask, wish["socket"]), check))
            result["share"] = True
        except (WishError, RuntimeError, OSError) as error:
            problem = str(error)
    if wish["serves"]:
        place = Place(wish["config_root"], wish["state_path"], models=wish["model_root"])
        way = WayBack(runner(module), wish["model"], Move(back.old, back.new), place)
        outcomes, is_changed = way.go(wish["seconds"], check)
        result["instances"] = [each.to_json() for each in outcomes]
        result["changed"] |= is_changed
    if problem:
        module.fail_json(msg=problem, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
