# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One look at a host's instances with the conductor's own eyes: whether a whole run would leave all of them alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..host import process as process_facts
from ..serving import sight as unit_sight
from ..serving import watch as serving_watch
from ..serving.conductor import ACTS, Conductor
from ..serving.units import InstanceUnit
from .finding import Finding


class Onlooker(Conductor):
    """A conductor that looks once, waits for nothing and changes nothing."""

    def look(self) -> tuple[Finding, list[dict[str, Any]]]:
        """Return the finding, and the status of each instance as a run ends with it.

        Raises RuntimeError if systemd refuses a command.
        """
        wanted = self.wishes["instances"]
        names = [instance["name"] for instance in wanted]
        self.conduct()
        due = [f"{act} {name}" for act in ACTS for name in self.done[act]]
        if any(units.reload_needed(names) for units in (self.units, self.health)):
            due.append("systemd's reload")
        gates = self.traffic.gates()
        due += [f"the gate's companion is to be {self.traffic.due()}"] if self.traffic.due() else []
        due += [f"the gate of {name} is not open ({words})" for name, words in gates.items() if words]
        due += [
            f"instance {instance['name']}: {problem}" for instance in wanted for problem in self._problems(instance)
        ]
        status = self._status()["instances"]
        return Finding("; ".join(due), {"names": names, "gates": sorted(gates)}), status

    def _mark(self, _instance: Mapping[str, Any], unit: InstanceUnit) -> str:
        # The files are those of the plan: whether they are as they were laid down is a check of its own.
        return unit.mark

    def _problems(self, instance: Mapping[str, Any]) -> list[str]:
        """Return what a run would not accept, or do something about."""
        watch = self._watch_of(instance, self.wishes["models"], self.wishes["probe"])
        given_up = serving_watch.wait([watch], {watch.name: 0})
        watcher, unit = self.health.show(watch.name), self.units.show(watch.name)
        process = process_facts.process(unit.pid)
        files = [value for flag, value in (instance.get("flags") or {}).items() if flag.endswith("_file")]
        folders = [f"{model.base_path}/{version}" for model in watch.expected for version in model.versions]
        unseen = "" if given_up else unit_sight.unseen(unit.pid, files, folders)
        return [
            *([str(given_up[1])] if given_up else []),
            *(["its health unit is out of date"] if watcher.mark and watcher.running_mark != watcher.mark else []),
            *(process_facts.allocator_problems(instance, process) if process else ()),
            *([f"it could not read {unseen} after a restart"] if unseen else []),
        ]
