# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings up a host's instances one after another, each proven before the next, or takes a failed run back."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host import process as process_facts
from ..host.run import Run
from ..tree import point as atomic_tree_point
from ..tree.state import Store
from . import blessing, port_order, take_back
from . import check as serving_check
from . import records as instance_records
from . import sight as unit_sight
from . import watch as serving_watch
from .client import AVAILABLE, answers
from .inspector import Inspector
from .traffic import Traffic
from .units import InstanceUnit, Units, planned_mark

ACTS = ("started", "restarted", "enabled", "stopped", "watched", "gate")

# The clocks of process starts and of file times differ by less than this.
CLOCKS_DIFFER_S = 2
# For an untouched instance: enough to finish a reload in progress, and for a busy server to answer.
UNTOUCHED_TIMEOUT_S = 15
# The number that the module instance_status uses.
STATUS_PROBES = 5


class UnprovenError(Exception):
    """An instance does not serve as it should. ``result`` holds the message (``msg``) and what was done so far."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


class Conductor:
    """Carries out one call of the module `serving_instances`, with its parameters."""

    def __init__(self, wishes: Mapping[str, Any], run: Run, check_mode: bool, traffic: Traffic | None = None) -> None:
        self.wishes = wishes
        self.traffic = traffic or Traffic()
        self.check_mode = check_mode
        self.units = Units(run, self.wishes["unit_template"])
        self.health = Units(self.units.run, self.wishes["health_template"])
        tree = self.wishes["tree"]
        self.store = Store(os.path.join(self.wishes["state_path"], tree)) if tree else None
        self.idle: Collection[str] = ()
        self.done: dict[str, list[Any]] = {act: [] for act in (*ACTS, "instances", "remarks")}

    @property
    def changed(self) -> bool:
        """Return whether anything was done, or would be in check mode."""
        return any(self.done[act] for act in ACTS)

    def conduct(self) -> dict[str, Any]:
        """Bring up the wanted instances, or take a failed run back; return the module's result.

        Raises UnprovenError if an instance does not come to serve, RuntimeError if systemd refuses a command.
        """
        names = [instance["name"] for instance in self.wishes["instances"]] or self._described()
        if not self.check_mode and any(units.reload_needed(names) for units in (self.units, self.health)):
            self.units.reload()
        self._settle_gate()
        more = self._restore() if self.wishes["state"] == "restored" else self._bring_about()
        return {"changed": self.changed, **self.done, **more}

    def failure(self, **result: Any) -> dict[str, Any]:
        """Return what went wrong, what was done, and which instances are better off than before."""
        proven = [entry["name"] for entry in self.done["instances"] if not entry["problem"]]
        better = [name for name in proven if name in self.idle]
        return {"changed": self.changed, "better": better, **result, **self.done}

    def _settle_gate(self) -> None:
        done = "" if self.check_mode else self.traffic.settle()
        if done:
            self.done["gate"].append(done)

    def _bring_about(self) -> dict[str, Any]:
        """Stop surplus instances, then bring up the wanted ones one after another."""
        wanted = {instance["name"]: instance for instance in self.wishes["instances"]}
        if not self.check_mode:
            waiting = [] if self.wishes["may_stop"] else self._due(wanted)
            if waiting:
                return {"waiting": waiting}
            self._note_who_is_idle()
        self._remove_surplus(wanted)
        for instance in self._in_order(wanted, wanted):
            self._bring_up(instance)
            if not self.check_mode:
                self._prove(instance)
                self._watch(instance["name"])
                self._return(instance["name"])
        if not self.wishes["final"] or self.check_mode:
            return {}
        if self.store:
            atomic_tree_point.close(self.store)
        return {"status": self._status()}

    def _due(self, wanted: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the running instances that have to be stopped, be it for a moment."""
        running = [unit for unit in map(self.units.show, self.units.instances()) if unit.active]
        return [unit.name for unit in running if unit.name not in wanted or self._is_due(unit, wanted[unit.name])]

    def _is_due(self, unit: InstanceUnit, instance: Mapping[str, Any]) -> bool:
        """Return whether a running instance has to be restarted."""
        return unit.running_mark != self._mark(instance, unit) or self._stuck(unit, instance)

    def _status(self) -> dict[str, Any]:
        """Return the actual state of the proven instances, which may be imperfect without being a failure."""
        wishes = self.wishes
        probes = STATUS_PROBES if wishes["probe"] else 0
        inspector = Inspector(
            self.units.run,
            wishes["unit_template"],
            wishes["model_root"],
            probes,
            wishes["models"],
            self.traffic.gates(),
        )
        return {"instances": [inspector.inspect(instance) for instance in wishes["instances"]]}

    def _note_who_is_idle(self) -> None:
        """Record which instances do not serve before any restart: their old files are not worth going back to.

        A killed run has already recorded this for the state from which it started.
        """
        idle = [name for name in self.units.instances() if not self._answers(self.units.show(name))]
        self.idle = atomic_tree_point.note(self.store, "idle", idle) if self.store else idle

    def _answers(self, unit: InstanceUnit) -> bool:
        port = instance_records.ports_of(unit.pid).get("rest")
        return answers(port) if port else False

    def _remove_surplus(self, wanted: Collection[str]) -> list[str]:
        surplus = [name for name in self.units.instances() if name not in wanted]
        for name in surplus:
            self._act("stopped", name, self._remove)
        return surplus

    def _remove(self, name: str) -> None:
        self._leave(name)
        self.units.remove(name)
        self.traffic.forget(name)

    def _in_order(
        self, instances: Mapping[str, Mapping[str, Any]], due: Collection[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the instances in an order in which none needs a port that another still holds."""
        running = {name: self.units.show(name) for name in instances}
        held = {
            name: instance_records.ports_of(unit.pid).values()
            for name, unit in running.items()
            if name in due and unit.running_mark != self._mark(instances[name], unit)
        }
        wanted = {name: instance.get("ports", {}).values() for name, instance in instances.items()}
        for deed, name in port_order.steps(list(instances), held, wanted):
            if deed == port_order.SERVE:
                yield instances[name]
            elif not self.check_mode:
                self._leave(name)
                self.units.stop(name)

    def _mark(self, instance: Mapping[str, Any], unit: InstanceUnit) -> str:
        # In check mode the files do not hold the plan yet, so the mark comes from the plan itself.
        return planned_mark(instance, self.wishes["revision"]) if self.check_mode else unit.mark

    def _bring_up(self, instance: Mapping[str, Any]) -> None:
        name = instance["name"]
        unit = self.units.show(name)
        if not unit.enabled:
            self._act("enabled", name, self.units.enable)
        if not unit.active:
            self._act("started", name, self._start)
        elif self._is_due(unit, instance):
            self._act("restarted", name, self._restart)

    def _stuck(self, unit: InstanceUnit, instance: Mapping[str, Any]) -> bool:
        """Return whether an instance is stuck: its ports are closed until all of its first models are loaded.

        Until then it does not reread its files, so changes since its start never reach it; and an instance that has
        used up its whole start timeout is restarted.
        """
        age = process_facts.age_s(unit.pid)
        if age is None or self._answers(unit):
            return False
        files = Path(self.wishes["config_root"], unit.name).glob("*")
        changed = max((file.stat().st_mtime for file in files), default=0.0)
        limit = instance.get("start_timeout_s", serving_watch.DEFAULT_TIMEOUT_S)
        return changed > time.time() - age + CLOCKS_DIFFER_S or age > limit

    def _watch(self, name: str) -> None:
        """Let the health unit ask for the models of the plan, which can change without a restart of the server."""
        watcher = self.health.show(name)
        if watcher.mark and watcher.running_mark != watcher.mark:
            self._act("watched", name, self._watch_anew)

    def _watch_anew(self, name: str) -> None:
        # Not awaited: it is active once the models are, and that has just been proven.
        self.health.command("restart", "--no-block", self.health.unit(name))

    def _start(self, name: str) -> None:
        self.traffic.hold(name)
        self.units.start(name)

    def _restart(self, name: str) -> None:
        self._leave(name)
        self.units.restart(name)

    def _leave(self, name: str) -> None:
        self.done["remarks"] += [f"instance {name}: {sentence}" for sentence in self.traffic.leave(name)]

    def _return(self, name: str) -> None:
        problem = self.traffic.back(name)
        if problem:
            self.done["instances"][-1]["problem"] = problem
            raise UnprovenError(self.failure(msg=f"instance {name} serves, but gets no traffic: {problem}"))

    def _act(self, act: str, name: str, deed: Any) -> None:
        self.done[act].append(name)
        if not self.check_mode:
            deed(name)

    def _watch_of(
        self, instance: Mapping[str, Any], models: Sequence[Mapping[str, Any]], probe: bool
    ) -> serving_watch.Watch:
        return serving_watch.Watch(
            instance,
            serving_check.expectations(instance, models, self.wishes["model_root"]),
            self.units.unit(instance["name"]),
            probe,
            self.units.run,
        )

    def _prove(self, instance: Mapping[str, Any]) -> None:
        timeout = instance.get("start_timeout_s", serving_watch.DEFAULT_TIMEOUT_S)
        watch = self._watch_of(instance, self.wishes["models"], self.wishes["probe"])
        given_up = serving_watch.wait([watch], {watch.name: timeout})
        if given_up and self._may_help(watch):
            self._act("restarted", watch.name, self._restart)
            watch = self._watch_of(instance, self.wishes["models"], self.wishes["probe"])
            given_up = serving_watch.wait([watch], {watch.name: timeout})
        self.done["instances"].append(watch.report())
        self._bless(instance, watch)
        if given_up:
            raise UnprovenError(self.failure(**serving_watch.failure(*given_up)))
        self._prove_allocator(instance)
        self._prove_restart(instance, watch.expected)

    def _bless(self, instance: Mapping[str, Any], watch: serving_watch.Watch) -> None:
        """Record what golden requests have proven or not. It is no change of the host: it says what was seen."""
        folder = os.path.join(os.path.dirname(self.wishes["state_path"]), blessing.FOLDER)
        server = str((instance.get("server") or {}).get("version") or "")
        for expected in watch.expected:
            if expected.model in watch.probes:
                try:
                    blessing.keep(folder, expected, server, watch.probes[expected.model])
                except OSError as error:
                    raise RuntimeError(
                        f"{error.filename or folder}: {error.strerror}; check that host's files"
                    ) from None

    def _may_help(self, watch: serving_watch.Watch) -> bool:
        """Return whether a restart is worth a try: this call has made none, nothing is served or missing."""
        begun = watch.name in (*self.done["started"], *self.done["restarted"])
        served = any(version.state == AVAILABLE for versions in watch.states.values() for version in versions)
        return not begun and not served and not any(map(serving_check.absence, watch.expected))

    def _prove_allocator(self, instance: Mapping[str, Any]) -> None:
        # In an image's root the library may be too new for the image's own C library; only the loader can tell.
        process = process_facts.process(self.units.show(instance["name"]).pid)
        for problem in process_facts.allocator_problems(instance, process) if process else ():
            remedy = "set tfserving_allocator to glibc, or use a release that can load it"
            self._fail_of(instance, f"{problem}; {remedy}")

    def _prove_restart(self, instance: Mapping[str, Any], expected: Sequence[serving_check.Expectation]) -> None:
        files = [value for flag, value in (instance.get("flags") or {}).items() if flag.endswith("_file")]
        folders = [f"{model.base_path}/{version}" for model in expected for version in model.versions]
        unseen = unit_sight.unseen(self.units.show(instance["name"]).pid, files, folders)
        if unseen:
            problem = f"it serves, but could not read {unseen} after a restart"
            remedy = "keep the models where its unit can see them, every directory on the way open to its account"
            self._fail_of(instance, f"{problem}; {remedy}")

    def _fail_of(self, instance: Mapping[str, Any], problem: str) -> None:
        self.done["instances"][-1]["problem"] = problem
        raise UnprovenError(self.failure(msg=f"instance {instance['name']}: {problem}"))

    def _restore(self) -> dict[str, Any]:
        """Let each instance serve with the files present, and report the outcome."""
        described = {name: self._description(name) for name in self._described()}
        outcomes = [
            {"name": name, "state": take_back.REMOVED, "problem": ""} for name in self._remove_surplus(described)
        ]
        self.idle = (atomic_tree_point.noted(self.store, "idle") if self.store else None) or ()
        instances = {name: found["instance"] for name, found in described.items()}
        for instance in self._in_order(instances, instances):
            name = instance["name"]
            problem = self._brought_back(described[name], name not in self.idle)
            outcomes.append({"name": name, "state": self._outcome(name, problem), "problem": problem})
        if self.store and not any(one["state"] == take_back.FAILED for one in outcomes):
            atomic_tree_point.close(self.store)
        outcomes.sort(key=lambda one: one["name"])
        return {"in_force": take_back.sentence(outcomes), "outcomes": outcomes}

    def _outcome(self, name: str, problem: str) -> str:
        if problem:
            return take_back.IDLE if name in self.idle else take_back.FAILED
        return take_back.KEPT if name in self.wishes["keep"] else take_back.SERVES

    def _described(self) -> list[str]:
        return instance_records.names(self.wishes["config_root"])

    def _description(self, name: str) -> dict[str, Any]:
        found = instance_records.read(self.wishes["config_root"], name)
        if found is None:
            command = self.health.command("show", self.health.unit(name), "--property=ExecStart")
            found = instance_records.derived(self.wishes["config_root"], name, command)
        return found or {"instance": {"name": name, "ports": {}}, "models": []}

    def _brought_back(self, described: Mapping[str, Any], before: bool) -> str:
        """Return why an instance does not serve with its previous files, or an empty text."""
        instance, name = described["instance"], described["instance"]["name"]
        try:
            unit = self.units.show(name)
            if before or (unit.active and unit.running_mark != unit.mark):
                self._bring_up(instance)
            problem = self._waited_for(described, before)
            if not problem:
                self._watch(name)
                problem = self.traffic.back(name)
        except RuntimeError as error:
            return str(error)
        return problem

    def _waited_for(self, described: Mapping[str, Any], before: bool) -> str:
        instance = described["instance"]
        if "rest" not in instance["ports"]:
            return "nothing is known of its port"
        name = instance["name"]
        begun = name in (*self.done["started"], *self.done["restarted"], *self.wishes["touched"])
        longest = instance.get("start_timeout_s", serving_watch.DEFAULT_TIMEOUT_S)
        # An instance that did not serve before is checked once, without waiting.
        timeout = (longest if begun else min(longest, UNTOUCHED_TIMEOUT_S)) if before else 0
        watch = self._watch_of(instance, described["models"], self.wishes["probe"])
        given_up = serving_watch.wait([watch], {name: timeout})
        return str(given_up[1]) if given_up else ""
