#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings the units of a host's instances in line with the plan, one at a time, each proven before the next."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_instances
short_description: Start, restart and stop a host's instances, each proven before the next
version_added: 0.1.0
description:
  - Stops and disables instances that the plan no longer has; enables and starts those that do not run; restarts those
    whose process was started with another plan than the one that is now in its files.
  - Restarts are decided by what runs, not by what this run changed, so that a run which was interrupted between the
    files and the restart is made good by the next.
  - An instance that is not serving although its files say so is due for a restart too, where it was started before they
    changed or has had its time. What a restart would not survive, because a fresh process could not read it, is a
    failure.
  - A trial of other settings (M(tfserving.fleet.instance_trial)) that is still in force is ended.
  - Where instances have a gate (M(tfserving.fleet.gate)), one that is to be stopped leaves the traffic first, and comes
    back when it is proven. A gateway that has stopped asking for the gates is refused before anything is stopped.
  - One whose ports others take goes first; where ports change places, one is stopped for as long as it takes.
  - Works on one instance at a time and waits until it serves, as M(tfserving.fleet.model_status) does, before it
    goes on. Every instance is proven, also those which needed nothing.
options:
  instances:
    description:
      - The instances of the plan.
      - With O(state=restored) it is not needed; the descriptions beside the instances' files are read instead.
    type: list
    elements: dict
    required: false
    default: []
  state:
    description:
      - V(present) brings the instances in line with O(instances).
      - V(restored) ends a failed run, after M(tfserving.fleet.template_tree) has restored the files. What runs with the
        files that are there is left alone, all else is started, restarted or stopped as they say; where one does not
        serve, the others are seen to all the same. It does not fail for that, but returns what is in force.
    type: str
    default: present
    choices: [present, restored]
  revision:
    description:
      - A short digest of the unit file without the plan. A changed unit file calls for a restart.
    type: str
    default: ""
  health_template:
    description: The unit that watches an instance; restarted where it watches other models than the plan has.
    type: str
    default: tfserving-health@{name}.service
  config_root:
    description: The directory of the instances' files.
    type: path
    default: /etc/tfserving
  tree:
    description:
      - The tree of M(tfserving.fleet.template_tree) that holds the instances' files. When all instances are proven,
        what that tree would be restored to is forgotten.
    type: str
    default: ""
  state_path:
    description: Where the records of the trees are.
    type: path
    default: /var/lib/tfserving-fleet/trees
  final:
    description: Whether O(instances) is what the run is to end with, and not a step on the way there.
    type: bool
    default: true
  touched:
    description: With O(state=restored), the instances whose files were just put back, which are given time to serve.
    type: list
    elements: str
    default: []
  keep:
    description: With O(state=restored), the instances that have kept their new files.
    type: list
    elements: str
    default: []
  probe:
    description: Whether each model must answer a prediction.
    type: bool
    default: true
  may_stop:
    description:
      - Whether running instances may be stopped or restarted. Otherwise, if one has to be, nothing is done at all and
        the instances are returned as RV(waiting), so that somebody can first make sure that others carry their traffic.
    type: bool
    default: true
extends_documentation_fragment:
  - tfserving.fleet.serving_plan
attributes:
  check_mode:
    support: full
    description: Says which instances it would start, restart and stop, from the plan alone.
  diff_mode:
    support: none
    description: What is done to which instance is returned instead.
seealso:
  - module: tfserving.fleet.model_status
  - module: tfserving.fleet.instance_trial
  - module: tfserving.fleet.instance_status
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Start, restart and stop what the plan calls for
  tfserving.fleet.serving_instances:
    instances: "{{ tfserving_plan.instances }}"
    models: "{{ tfserving_plan.models }}"
    revision: 3f0a377ba0a4
"""

RETURN = r"""
started:
  description: Instances that were started.
  returned: always
  type: list
  elements: str
restarted:
  description: Instances that were restarted.
  returned: always
  type: list
  elements: str
enabled:
  description: Instances that were made to start at boot.
  returned: always
  type: list
  elements: str
stopped:
  description: Instances that the plan no longer has.
  returned: always
  type: list
  elements: str
watched:
  description: Instances whose health unit was started again.
  returned: always
  type: list
  elements: str
waiting:
  description: Instances that have to be stopped or restarted, while O(may_stop) forbids it; nothing was done.
  returned: with O(may_stop=false), where there are any
  type: list
  elements: str
gate:
  description: What was done to the service that answers for the gates.
  returned: always
  type: list
  elements: str
  sample: [restarted]
remarks:
  description: What could not be proven while instances left the traffic, in sentences; shown as warnings.
  returned: always
  type: list
  elements: str
instances:
  description: What each instance serves, as returned by M(tfserving.fleet.model_status).
  returned: always
  type: list
  elements: dict
status:
  description: What the instances really are, as the result of M(tfserving.fleet.instance_status).
  returned: success, with O(state=present) and O(final), not in check mode
  type: dict
better:
  description: Instances that did not serve before this run and were proven by it.
  returned: failure
  type: list
  elements: str
in_force:
  description: What is in force now, in one sentence.
  returned: with O(state=restored)
  type: str
outcomes:
  description:
    - What became of each instance, with its C(name), its C(state) (V(serves), V(kept), V(idle), V(removed) or
      V(failed)) and its C(problem), which is empty for one that serves.
  returned: with O(state=restored)
  type: list
  elements: dict
log:
  description: The last lines that the failed server wrote to the journal.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.door import Door
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.passage import Passage
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.conductor import Conductor, UnprovenError
from ansible_collections.tfserving.fleet.plugins.module_utils.trial import leftover


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict", "default": []},
            "state": {"type": "str", "default": "present", "choices": ["present", "restored"]},
            "models": {"type": "list", "elements": "dict", "default": []},
            "model_root": {"type": "path", "default": defaults.MODELS},
            "config_root": {"type": "path", "default": defaults.CONFIG},
            "revision": {"type": "str", "default": ""},
            "unit_template": {"type": "str", "default": "tfserving@{name}.service"},
            "health_template": {"type": "str", "default": "tfserving-health@{name}.service"},
            "tree": {"type": "str", "default": ""},
            "state_path": {"type": "path", "default": "/var/lib/tfserving-fleet/trees"},
            "final": {"type": "bool", "default": True},
            "touched": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "list", "elements": "str", "default": []},
            "probe": {"type": "bool", "default": True},
            "may_stop": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    run = process_facts.runner(module)
    if not module.check_mode:
        leftover.clear(run)
    door = Door(run, f"{module.params['config_root']}/gate.json")
    passage = Passage(door, run_lock.read(run_lock.FOLDER), forced=module.params["state"] == "restored")
    conductor = Conductor(module.params, run, module.check_mode, passage)
    try:
        result = conductor.conduct()
    except UnprovenError as error:
        module.fail_json(**error.result)
    except (RuntimeError, WishError) as error:
        module.fail_json(**conductor.failure(msg=str(error)))
    for remark in result["remarks"]:
        module.warn(remark)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
