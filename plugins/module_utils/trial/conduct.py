# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Puts other settings of one instance in force for a while, and the plan's again.

The order of every step keeps one promise: from the first change on, either the plan's settings are in force or a timer
is armed that brings them back, whenever this process is killed. Nothing below /etc is touched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..disk import durable, folders
from ..errors import WishError
from ..evidence import samples
from ..gate.door import Door
from ..host import memory, plan_record
from ..host import process as process_facts
from ..host.run import Run
from ..host.service_manager import SYSTEMD, service_manager
from ..host.sysfs import Tree
from ..serving import check as serving_check
from ..serving import watch as serving_watch
from ..serving.units import InstanceUnit, Units
from ..visible_text import told
from . import drop_in, proof, versions, wish
from .back import Back
from .place import Place

TEMPLATE = "tfserving@{name}.service"
# Another process's command line is shown, not used; ours has some dozens of words.
MOST_WORDS, LONGEST_WORD = 300, 400


class TrialError(Exception):
    """A trial that did not come to serve. ``result`` holds the message (``msg``), the log and what is in force now."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


class Trial:
    """Carries out one call of the module `instance_trial`, with its options."""

    def __init__(self, options: Mapping[str, Any], run: Run, check_mode: bool, host: Tree | None = None) -> None:
        host = host or Tree()
        wish.instance(options["instance"])
        self.options = options
        self.host = host
        self.check_mode = check_mode
        self.name: str = options["instance"]
        self.plan = plan_record.read(options["record"])
        self.instance = plan_record.instance(self.plan, self.name)
        manager = service_manager(host)
        if manager != SYSTEMD:
            raise WishError("", f"this host is run by {manager}, and a trial needs systemd", "name another host")
        self.units = Units(run, TEMPLATE, Path(host.path("proc")))
        place = Place(self.name, self.units.unit(self.name))
        self.place = Place(place.instance, place.unit, *map(host.path, (place.units, place.root, place.proc)))
        self.back = Back(run, self.place)
        self.door = Door(run, host.path("etc/tfserving/gate.json"))
        self.versions: Sequence[versions.Version] = []

    def conduct(self) -> dict[str, Any]:
        """Return the module's result. Raises WishError, TrialError, RuntimeError if systemd refuses a command."""
        return {"present": self._present, "renewed": self._renewed, "absent": self._absent, "queried": self._queried}[
            self.options["state"]
        ]()

    # What is asked for.

    def _present(self) -> dict[str, Any]:
        asked = wish.wish(self.options, self.instance["ports"])
        self.versions = versions.wanted(self.options, self.instance, *self._models(), self.place)
        current, unit = drop_in.read(self.place), self.units.show(self.name)
        self._refuse_foreign(current)
        wanted = drop_in.InForce(asked.owner, asked.digest)
        if current == wanted and unit.running_mark == f"{drop_in.MARKED}{asked.digest}":
            return self._go_on(asked)
        if not current and not self.check_mode:
            self._clean_up(unit)
            unit = self.units.show(self.name)
        if not current and not _is_trial(unit):
            self._refuse_idle(unit)
        if self.check_mode:
            return self._result(changed=True)
        return self._begin(asked)

    def _go_on(self, asked: wish.Wish) -> dict[str, Any]:
        """Change no more than the model versions of the trial that is in force, and postpone its end."""
        versions.refuse_older(self.versions, self.place)
        missing = versions.missing(self.versions, self.place)
        if self.check_mode:
            return self._result(changed=bool(missing))
        if not self.versions:
            self.back.arm(asked.expires_s)
            return self._result(changed=False)
        return self._prove(asked, lambda: self._add(missing), changed=bool(missing))

    def _renewed(self) -> dict[str, Any]:
        wish.owner(self.options["owner"])
        wish.expiry(self.options["expires_s"])
        current = drop_in.read(self.place)
        self._refuse_foreign(current)
        if not current or current.owner != self.options["owner"]:
            raise self._refusal(f"no trial of {self.options['owner']} is in force", "begin one with state=present")
        if not self.check_mode:
            self.back.arm(self.options["expires_s"])
        found = self._result(changed=False)
        return {**found, "sample": samples.once(self.host, self.instance, found["pid"])}

    def _absent(self) -> dict[str, Any]:
        current = drop_in.read(self.place)
        if self.options["owner"]:
            wish.owner(self.options["owner"])
            self._refuse_foreign(current)
        left = any(map(os.path.exists, (self.place.folder, self.place.script))) or bool(self.back.armed())
        changed = bool(current) or left or _is_trial(self.units.show(self.name))
        if changed and not self.check_mode and self._end():
            self._prove_back()
        return self._result(changed=changed)

    def _queried(self) -> dict[str, Any]:
        return self._result(changed=False)

    def _clean_up(self, unit: InstanceUnit) -> None:
        """End what a killed call has left between its steps, so that the trial begins with the plan's settings."""
        if (self.back.armed() or _is_trial(unit)) and self._end():
            self._prove_back()

    # Refusals.

    def _refusal(self, problem: str, remedy: str) -> WishError:
        return WishError(f"instance {self.name}", problem, remedy)

    def _refuse_foreign(self, current: drop_in.InForce | None) -> None:
        # Without a timer nobody minds it any more.
        if current and current.owner not in ("", self.options["owner"]) and self.back.armed():
            remedy = "wait until it has ended, or end it with state=absent and no owner"
            raise self._refusal(f"a trial of {current.owner} is in force", remedy)

    def _refuse_idle(self, unit: InstanceUnit) -> None:
        remedy = "run site.yml, and try other settings when it serves"
        if not unit.active or not unit.pid:
            raise self._refusal("does not run, so that no settings can be compared with its plan's", remedy)
        if unit.running_mark != unit.mark or not unit.mark.startswith(f"{self.instance['digest']}-"):
            raise self._refusal("does not run with the settings of its plan", remedy)
        given_up = serving_watch.wait([self._watch(probe=False)], {self.name: 0})
        if given_up:
            raise self._refusal(f"does not serve its plan ({given_up[1]})", remedy)

    # What is done.

    def _begin(self, asked: wish.Wish) -> dict[str, Any]:
        return self._prove(asked, lambda: self._start(asked), changed=True)

    def _prove(self, asked: wish.Wish, deed: Callable[[], None], changed: bool) -> dict[str, Any]:
        """Do something that may fail, wait until the server serves, and end the trial if it does not."""
        # While the server loads, the trial must not end; and it must if this process does not see it through.
        self.back.arm(asked.expires_s + int(self._patience()))
        try:
            deed()
            watch = self._watch(self.options["probe"], self.versions)
            given_up = serving_watch.wait([watch], {self.name: self._patience()})
            if not given_up:
                self._require_in_force(watch)
                self._admit()
        except (OSError, RuntimeError) as error:
            raise self._failed({"msg": f"instance {self.name}: {error}", "log": []}) from error
        if given_up:
            raise self._failed(serving_watch.failure(*given_up))
        versions.forget_older(self.versions, self.place)
        self.back.arm(asked.expires_s)
        return {**self._result(changed=changed), "waited_s": watch.report()["waited_s"]}

    def _require_in_force(self, watch: serving_watch.Watch) -> None:
        """Raise RuntimeError if a version that serves has other batching than its files."""
        expected = {each.model: each for each in watch.expected}
        for version in filter(lambda version: version.rows, self.versions):
            found = proof.limit(watch.client, expected[version.model], version.number, version.rows)
            if found != version.rows:
                name = f"model {version.model} version {version.number}"
                raise RuntimeError(f"{name} forms batches of {found} rows, and its files say {version.rows}")

    def _start(self, asked: wish.Wish) -> None:
        self._lay_down(asked)
        self.units.reload()
        self.units.restart(self.name)

    def _lay_down(self, asked: wish.Wish) -> None:
        folders.make(self.place.folder)
        for name in os.listdir(self.place.folder):
            if name not in asked.files:
                _remove(os.path.join(self.place.folder, name))
        self._add(self.versions)
        for name, content in asked.files.items():
            durable.write(f"{self.place.folder}/{name}", content.encode("utf-8", "surrogatepass"))
        folders.make(self.place.drop_in_folder)
        durable.write(self.place.drop_in, drop_in.text(asked, self.instance, self.place).encode())

    def _add(self, missing: Sequence[versions.Version]) -> None:
        for version in missing:
            versions.add(version, self.place)

    def _failed(self, failure: dict[str, Any]) -> TrialError:
        """End a trial whose server does not serve, and return the error that says so in the server's words."""
        self._end(always=True)
        try:
            self._prove_back()
            state = "the settings of the plan are back and serve"
        except TrialError as error:
            state = str(error)
        msg = f"{failure['msg']}; the trial is ended, and {state}"
        return TrialError({**failure, **self._result(changed=True), "msg": msg})

    def _end(self, always: bool = False) -> bool:
        """Put the plan's settings in force; return whether the server was restarted for that."""
        durable.remove(self.place.drop_in)
        durable.remove(self.place.staged)
        _remove_if_empty(self.place.drop_in_folder)
        self.units.reload()
        unit = self.units.show(self.name)
        state = process_facts.unit(self.units.run, unit.unit)
        # As the timer decides: one that somebody has stopped meanwhile stays stopped.
        restarts = always or _is_trial(unit) or (not unit.pid and state.active != "inactive")
        if restarts:
            self.units.restart(self.name)
        shutil.rmtree(self.place.folder, ignore_errors=True)
        self.back.disarm()
        return restarts

    def _prove_back(self) -> None:
        given_up = serving_watch.wait([self._watch(probe=self.options["probe"])], {self.name: self._patience()})
        if given_up:
            failure = serving_watch.failure(*given_up)
            words = f"{failure['msg']}, with the settings of its plan; run site.yml"
            raise TrialError({**failure, **self._result(changed=True), "msg": words})
        self._admit()

    def _admit(self) -> None:
        """Let callers connect at once: the unit that watches the server would do so only after its next look."""
        if self.door.present:
            self.door.admit(self.name)

    def _watch(self, probe: bool, own: Sequence[versions.Version] = ()) -> serving_watch.Watch:
        """Return a watch of what the plan serves, or of the trial's ``own`` versions in place of it."""
        instance = versions.served(self.instance, own, self.place) if own else self.instance
        expected = serving_check.expectations(instance, *self._models())
        unit = self.units.unit(self.name)
        return serving_watch.Watch(instance, expected, unit, probe, self.units.run, self.units.proc)

    def _models(self) -> tuple[Sequence[Mapping[str, Any]], str]:
        return self.plan.get("models", []), self.plan.get("paths", {}).get("models", "")

    def _patience(self) -> float:
        return float(self.instance.get("start_timeout_s", serving_watch.DEFAULT_TIMEOUT_S))

    def _result(self, changed: bool) -> dict[str, Any]:
        current, unit = drop_in.read(self.place), self.units.show(self.name)
        return {
            "changed": changed,
            "in_force": current is not None,
            "owner": current.owner if current else "",
            "digest": current.digest if current else "",
            "armed": bool(self.back.armed()),
            "pid": unit.pid,
            "runs": self._runs(unit),
            "command": self._command(unit.pid),
            "memory": memory.read(str(self.units.proc), unit.pid),
        }

    def _runs(self, unit: InstanceUnit) -> str:
        if not unit.pid:
            return "nothing"
        if _is_trial(unit):
            return "trial"
        return "plan" if unit.running_mark.startswith(f"{self.instance['digest']}-") else "other"

    def _command(self, pid: int) -> list[str]:
        try:
            words = (self.units.proc / str(pid) / "cmdline").read_text(errors="replace").split("\0") if pid else []
        except OSError:
            words = []
        return [told(word, LONGEST_WORD) for word in words[:MOST_WORDS] if word]


def _is_trial(unit: InstanceUnit) -> bool:
    return unit.running_mark.startswith(drop_in.MARKED)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        # Missing, or with drop-ins of somebody else.
        return
