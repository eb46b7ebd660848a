# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lets the servers of a host answer with the version of a model from before, as fast as they can.

What the role tfserving would write for that is written in one step, and nothing remembers the files with the bad
version: nobody who later takes a change back is to bring it again. What does not come to pass in time, or cannot be
done by changing versions alone, is left to the role, which begins with the files as they are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import defaults
from ..disk import plain_files
from ..errors import WishError
from ..host.run import Run
from ..tree import tree
from ..tree.change import Change, Plan, digest
from ..tree.files import Host
from ..tree.state import BusyError
from ..visible_text import told
from . import check as serving_check
from . import records, reload, versions_text
from . import watch as serving_watch
from .client import AVAILABLE, Version

TREE = "tfserving"
TEMPLATE = "tfserving@{name}.service"
# Another run's change of the same files takes less.
LOCKED_S, PAUSE_S = 5.0, 0.1
_WORDS = 400

Edit = Callable[[str, str, versions_text.Move], str]


@dataclass(frozen=True)
class Place:
    """Where a host's files are: the instances', the records of their tree, and the directory that all are below."""

    config: str = defaults.CONFIG
    trees: str = "/var/lib/tfserving-fleet/trees"
    dest: str = "/"
    models: str = defaults.MODELS


@dataclass(frozen=True)
class Outcome:
    """What became of an instance that serves the model. ``answers``: calls are answered by the version from before.

    By that alone, but for versions that are served beside those of the roll-out.
    """

    name: str
    answers: bool = False
    words: str = ""
    """Why not, and empty where it does."""
    versions: Sequence[Version] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        states = {str(each.version): each.state for each in self.versions}
        return {"name": self.name, "answers": self.answers, "words": told(self.words, _WORDS), "states": states}


class WayBack:
    """One model of a host and its roll-out that is taken back."""

    def __init__(self, run: Run, model: str, move: versions_text.Move, place: Place | None = None) -> None:
        self.run = run
        self.model = model
        self.move = move
        self.place = place or Place()
        self.tree = tree.Tree(self.place.trees, TREE, self.place.dest)

    def go(self, seconds: float, check_mode: bool = False) -> tuple[list[Outcome], bool]:
        """Return what became of each instance that serves the model, and whether a file was changed.

        It is waited for ``seconds`` at most, all instances together.
        """
        described = {name: records.read(self.place.config, name) for name in records.names(self.place.config)}
        instances = [found["instance"] for found in described.values() if found and self._serves(found["instance"])]
        left = [Outcome(name, words=self._lost(name)) for name, found in described.items() if not found]
        hindered = {instance["name"]: self._hindrance(instance) for instance in instances}
        left += [Outcome(name, words=words) for name, words in hindered.items() if words]
        able = [instance for instance in instances if not hindered[instance["name"]]]
        changed, problem = self._write([instance["name"] for instance in able], check_mode) if able else (False, "")
        if problem or check_mode:
            words = problem or "nothing is changed in check mode"
            return [*left, *(Outcome(instance["name"], words=words) for instance in able)], changed
        return [*left, *self._answered(able, seconds)], changed

    def _answered(self, instances: Sequence[dict[str, Any]], seconds: float) -> list[Outcome]:
        wanted = [versions_text.instance(instance, self.model, self.move) for instance in instances]
        found = {instance["name"]: self._seen(instance, 0) for instance in wanted}
        waiting = [instance for instance in wanted if not found[instance["name"]].answers]
        for instance in waiting:
            self._hurry(instance)
        deadline = time.monotonic() + seconds
        for instance in waiting:
            found[instance["name"]] = self._seen(instance, deadline - time.monotonic())
        return list(found.values())

    def _serves(self, instance: dict[str, Any]) -> bool:
        return any(True for _config in versions_text.of_model(instance, self.model))

    def _lost(self, name: str) -> str:
        return f"{os.path.join(self.place.config, name, records.NAME)} cannot be read, so that its models are not known"

    def _hindrance(self, instance: dict[str, Any]) -> str:
        """Return why a change of versions alone does not do, or an empty text."""
        config = next(versions_text.of_model(instance, self.model))
        base = config.get("base_path") or f"{self.place.models}/{self.model}"
        if "specific" not in (config.get("model_version_policy") or {}):
            return f"its configuration does not list the versions of {self.model}"
        if self.move.old not in serving_check.versions_on_disk(base):
            return f"version {self.move.old} of {self.model} is not in {base}"
        return ""

    def _write(self, names: Sequence[str], check_mode: bool) -> tuple[bool, str]:
        """Change the files of instances in one step; return whether any differed, and why they could not be changed."""

        def planned(host: Host, manifest: Mapping[str, Any]) -> Plan:
            plan = Plan(files=dict(manifest["files"]), directories=manifest["directories"], revertable=False)
            for path, edit in self._files(names):
                self._edit(plan, host, path, edit)
            return plan

        try:
            found = self._patiently(lambda: self.tree.run(planned, lambda *_file: None, check_mode))
        except WishError as error:
            return False, str(error)
        except OSError as error:
            return False, f"{self.tree.store.path}: {error.strerror}"
        return found.changed, ""

    def _patiently(self, deed: Callable[[], tree.Outcome]) -> tree.Outcome:
        """Do something once no other run works on the files."""
        deadline = time.monotonic() + LOCKED_S
        while True:
            try:
                return deed()
            except BusyError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_S)

    def _files(self, names: Sequence[str]) -> list[tuple[str, Edit]]:
        root = os.path.relpath(self.place.config, self.place.dest)
        edits: list[tuple[str, Edit]] = [("gate.json", versions_text.in_gate)]
        for name in names:
            edits.append((f"{name}/{records.MODELS}", versions_text.in_models))
            edits.append((f"{name}/{records.NAME}", versions_text.in_description))
        return [(os.path.join(root, path), edit) for path, edit in edits]

    def _edit(self, plan: Plan, host: Host, path: str, edit: Edit) -> None:
        before = host.see(path)
        if before.kind == "absent":
            return
        if before.kind != "file" or len(before.content) > records.LARGEST:
            raise WishError(host.path(path), "is no file of the role tfserving", "run site.yml")
        try:
            text = edit(before.content.decode(), self.model, self.move)
        except (ValueError, KeyError, TypeError) as error:
            words = str(error) if type(error) is ValueError else "is damaged"
            raise WishError(host.path(path), words, "run site.yml") from None
        after = replace(before, content=text.encode())
        known = plan.files.get(path)
        if not before.same(after):
            plan.changes.append(Change(path, before, after, known["entries"] if known else {}))
        if known:
            plan.files[path] = {**known, "sha256": digest(after.content)}

    def _hurry(self, instance: Mapping[str, Any]) -> None:
        """Have the server take in its file now; with TLS it does so by itself, a little later."""
        port, flags = instance["ports"].get("grpc"), instance.get("flags") or {}
        if plain_files.fits(port, int) and 0 < port <= records.MOST_PORT and not flags.get("ssl_config_file"):
            reload.asked(port, instance["model_config"])

    def _seen(self, instance: Mapping[str, Any], seconds: float) -> Outcome:
        name = instance["name"]
        expected = serving_check.expectations(instance, (), self.place.models)
        own = [each for each in expected if each.model == self.model]
        watch = serving_watch.Watch(instance, own, TEMPLATE.replace("{name}", name), False, self.run)
        given_up = serving_watch.wait([watch], {name: max(0.0, seconds)})
        states = watch.states.get(self.model, [])
        wanted = versions_text.listed(next(versions_text.of_model(instance, self.model)))
        answers = sorted(each.version for each in states if each.state == AVAILABLE) == wanted
        return Outcome(name, answers, "" if answers else str(given_up[1]) if given_up else "", states)
