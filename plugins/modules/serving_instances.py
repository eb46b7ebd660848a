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
    whose process was started with another plan than the one that now stands in its files.
  - Restarts are decided by what runs, not by what this run changed, so that a run which was interrupted between the
    files and the restart is made good by the next.
  - Works on one instance at a time and waits until it serves, as M(tfserving.fleet.model_status) does, before it
    goes on. Every instance is proven, also those which needed nothing.
options:
  instances:
    description: The instances of the plan.
    type: list
    elements: dict
    required: true
  revision:
    description:
      - What stands in the unit file beside the plan, as a short digest. A unit file that changes is due for a restart.
    type: str
    default: ""
  health_template:
    description: The unit that watches an instance; started anew where it asks for other models than the plan has.
    type: str
    default: tfserving-health@{name}.service
  probe:
    description: Whether each model must answer a prediction.
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
instances:
  description: What each instance serves, as returned by M(tfserving.fleet.model_status).
  returned: always
  type: list
  elements: dict
log:
  description: The last lines that the failed server wrote to the journal.
  returned: failure
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import process_facts, serving_check, serving_watch
from ansible_collections.tfserving.fleet.plugins.module_utils.units import Units, planned_mark

ACTS = ("started", "restarted", "enabled", "stopped", "watched")


class Conductor:
    """Carries out one call of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.wishes = module.params
        self.units = Units(process_facts.runner(module), self.wishes["unit_template"])
        self.health = Units(self.units.run, self.wishes["health_template"])
        self.done: dict[str, list] = {act: [] for act in (*ACTS, "instances")}

    @property
    def changed(self) -> bool:
        """Whether anything was done, or would be in check mode."""
        return any(self.done[act] for act in ACTS)

    def conduct(self) -> None:
        """Stop what is surplus, then bring up one instance after another; ends the module."""
        wanted = {instance["name"]: instance for instance in self.wishes["instances"]}
        if not self.module.check_mode and any(units.reload_needed(list(wanted)) for units in (self.units, self.health)):
            self.units.reload()
        for name in self.units.instances():
            if name not in wanted:
                self._act("stopped", name, self.units.remove)
        for instance in wanted.values():
            self._bring_up(instance)
            if not self.module.check_mode:
                self._prove(instance)
                self._watch(instance["name"])
        self.module.exit_json(changed=self.changed, **self.done)

    def _bring_up(self, instance: Mapping[str, Any]) -> None:
        name = instance["name"]
        unit = self.units.show(name)
        # In check mode the files do not hold the plan yet, so the plan itself says what they will hold.
        mark = planned_mark(instance, self.wishes["revision"]) if self.module.check_mode else unit.mark
        if not unit.enabled:
            self._act("enabled", name, self.units.enable)
        if not unit.active:
            self._act("started", name, self.units.start)
        elif unit.running_mark != mark:
            self._act("restarted", name, self.units.restart)

    def _watch(self, name: str) -> None:
        """Let the health unit ask for the models of the plan: those can change without a restart of the server."""
        watcher = self.health.show(name)
        if watcher.mark and watcher.running_mark != watcher.mark:
            self._act("watched", name, self._watch_anew)

    def _watch_anew(self, name: str) -> None:
        # Not awaited: it is active when the models are, and that has just been proven.
        self.health.command("restart", "--no-block", self.health.unit(name))

    def _act(self, act: str, name: str, deed: Any) -> None:
        self.done[act].append(name)
        if not self.module.check_mode:
            deed(name)

    def _prove(self, instance: Mapping[str, Any]) -> None:
        watch = serving_watch.Watch(
            instance,
            serving_check.expectations(instance, self.wishes["models"], self.wishes["model_root"]),
            self.units.unit(instance["name"]),
            self.wishes["probe"],
            self.units.run,
        )
        timeout = instance.get("start_timeout_s", serving_watch.DEFAULT_TIMEOUT_S)
        given_up = serving_watch.wait([watch], {watch.name: timeout})
        self.done["instances"].append(watch.report())
        if given_up:
            self.module.fail_json(changed=self.changed, **serving_watch.failure(*given_up), **self.done)
        for text in serving_watch.unproven([watch.report()]):
            self.module.warn(text)
        self._prove_allocator(instance)

    def _prove_allocator(self, instance: Mapping[str, Any]) -> None:
        # In the root of an image the library may be too new for the image's own C library, which only the loader tells.
        process = process_facts.process(self.units.show(instance["name"]).pid)
        for problem in process_facts.allocator_problems(instance, process) if process else ():
            remedy = "set tfserving_allocator to glibc, or use a release that can load it"
            self.module.fail_json(
                msg=f"instance {instance['name']}: {problem}; {remedy}", changed=self.changed, **self.done
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict", "required": True},
            "models": {"type": "list", "elements": "dict", "default": []},
            "model_root": {"type": "path", "default": "/var/lib/tfserving/models"},
            "revision": {"type": "str", "default": ""},
            "unit_template": {"type": "str", "default": "tfserving@{name}.service"},
            "health_template": {"type": "str", "default": "tfserving-health@{name}.service"},
            "probe": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        Conductor(module).conduct()
    except RuntimeError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
