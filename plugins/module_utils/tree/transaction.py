# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Carries out a plan for many files as one step that either happens or does not, power failures included.

A change of the tree is one record, and the record's file name is the phase of the change:

==================  ============================================  ====================================
name                phase                                         a later run that finds it...
==================  ============================================  ====================================
``prepare.json``    new files are staged beside their places and  discards the staged files
                    validated; no destination is touched
``journal.json``    staged files are renamed into place           puts the old files back
``committed.json``  all is in place, old files are removed        removes them
``manifest.json``   idle: this is the record of the last change   learns what the tree wrote and
                                                                  how to revert it
==================  ============================================  ====================================

Each change of phase is a rename: atomic, and without need for space. The same holds for the files, whose old
versions keep a second name (a hard link) until the change is committed. A full disk stops a change, but never its
rollback.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..disk.durable import sync_opened
from ..errors import WishError
from .change import Change, Plan, recalled, remembered
from .files import ABSENT, Host, discard, keep_aside, keep_label, naming, set_attributes, write_new
from .state import COMMITTED, JOURNAL, PREPARE, Record, Store

# Called with a file's path relative to dest, the absolute path of its staged copy and whether it is secret; raises
# WishError to refuse it.
Validator = Callable[[str, str, bool], None]


def recorded(plan: Plan) -> dict[str, list[Record]]:
    """Return the steps of a plan in the form that records keep; saved files are named by their index in the list."""
    return {
        "changes": [_step(change, f"{number:06d}") for number, change in enumerate(plan.changes)],
        "make": [_step(change) for change in plan.make],
        "adjust": [_step(change) for change in plan.adjust],
        "drop": [_step(change) for change in plan.drop],
    }


class Transaction:
    """One change of a tree, defined by its record alone, so that a later run can finish what this one began."""

    def __init__(self, store: Store, host: Host, record: Record) -> None:
        self.store = store
        self.host = host
        self.record = record
        self.steps = record["steps"]
        self.folders = sorted({os.path.dirname(step["path"]) for step in self.steps["changes"]})

    def forward(self, plan: Plan, validate: Validator) -> None:
        """Stage, validate and replace; roll back before raising any error."""
        try:
            self._stage(plan)
            for change in plan.changes:
                if change.after.kind == "file":
                    validate(change.path, self.host.path(self._aside(change.path, "new")), change.secret)
            self.store.advance(PREPARE, JOURNAL)
            self._replace()
            self.store.advance(JOURNAL, COMMITTED)
        except WishError as error:
            self._give_up()
            raise WishError(error.path, error.problem, "nothing was changed") from error
        except OSError as error:
            self._give_up()
            raise WishError(self.store.path, error.strerror or str(error), "nothing was changed") from error
        except BaseException:
            self._give_up()
            raise

    def back(self, phase: str) -> None:
        """Restore everything to its state before the change; may itself be interrupted and repeated."""
        if phase == JOURNAL:
            for step in reversed(self.steps["changes"]):
                self._undo(step)
            self._adjust("before")
            self._sync(self.folders)
        self._discard_staged()
        self._remove_directories(step["path"] for step in reversed(self.steps["make"]))
        last = self.store.last()
        self.store.sweep(last["transaction"] if last else None)
        self.store.remove(phase)

    def clear(self) -> None:
        """After the commit, remove what only a rollback needed; may be repeated."""
        self._discard_staged()
        self._remove_directories(step["path"] for step in self.steps["drop"])
        self.store.sweep(self.record["transaction"])

    def pretend_back(self) -> None:
        """Show the files through ``host`` as ``back`` would leave them."""
        for step in self.steps["changes"]:
            path = step["path"]
            if step["before"]["kind"] != "absent":
                aside = self._aside(path, "old")
                self.host.moved[path] = path if self.host.see(aside) == ABSENT else aside
            elif self.host.see(self._aside(path, "new")) == ABSENT:
                self.host.moved[path] = None

    def _give_up(self) -> None:
        # The records on disk tell the phase: an interrupt may come between a step and the update of any variable.
        try:
            for phase in (PREPARE, JOURNAL):
                if self.store.load(phase):
                    self.back(phase)
        except (OSError, WishError) as error:
            problem = f"a failed change could not be taken back ({error})"
            raise WishError(self.store.path, problem, "the next run tries again before anything else") from error

    def _stage(self, plan: Plan) -> None:
        for change in plan.make:
            with naming(self.host.path(change.path)):
                self._make_directory(change)
        for folder in self.folders:
            with naming(self.host.path(folder)), self.host.directory(folder) as parent:
                for kind in ("new", "old"):
                    os.mkdir(self._staging(kind), 0o700, dir_fd=parent)
        for change in plan.changes:
            with naming(self.host.path(change.path)):
                self._stage_file(change)
        kept = {
            step["before"]["kept"]: change.before.content
            for step, change in zip(self.steps["changes"], plan.changes)
            if "kept" in step["before"]
        }
        self.store.put_by(self.record["transaction"], kept)
        made = {os.path.dirname(change.path) for change in plan.make if change.path}
        staged = [self._in(folder, kind) for folder in self.folders for kind in ("new", "old")]
        self._sync([*staged, *self.folders, *sorted(made)])

    def _make_directory(self, change: Change) -> None:
        if not change.path:
            os.mkdir(self.host.dest, 0o700)
        else:
            with self.host.directory(os.path.dirname(change.path)) as parent:
                os.mkdir(os.path.basename(change.path), 0o700, dir_fd=parent)
        with self.host.directory(change.path) as made:
            set_attributes(made, change.after)

    def _stage_file(self, change: Change) -> None:
        folder, name = os.path.split(change.path)
        if change.after == ABSENT:
            return
        with self._places(folder) as (parent, new, old):
            write_new(new, name, change.after)
            if change.before != ABSENT:
                keep_label(name, parent, new)
                keep_aside(name, parent, old)

    def _replace(self) -> None:
        for step in self.steps["changes"]:
            folder, name = os.path.split(step["path"])
            removed = step["after"]["kind"] == "absent"
            with naming(self.host.path(step["path"])), self._places(folder) as (parent, new, old):
                source, target = (parent, old) if removed else (new, parent)
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        self._adjust("after")
        self._sync(self.folders)

    def _undo(self, step: Mapping[str, Any]) -> None:
        """Undo one replacement if it happened: a staged file missing from its place shows that it did."""
        folder, name = os.path.split(step["path"])
        created, removed = (step[when]["kind"] == "absent" for when in ("before", "after"))
        with contextlib.suppress(FileNotFoundError), self._places(folder) as (parent, new, old):
            if not removed and name in os.listdir(new):
                return
            source, target = (parent, new) if created else (old, parent)
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)

    def _adjust(self, when: str) -> None:
        for step in self.steps["adjust"]:
            with naming(self.host.path(step["path"])), self.host.directory(step["path"]) as directory:
                set_attributes(directory, recalled(step[when]))
                sync_opened(directory)

    def _discard_staged(self) -> None:
        # Old files first: as long as they exist, ``_undo`` relies on the new ones.
        for kind in ("old", "new"):
            for folder in self.folders:
                with contextlib.suppress(FileNotFoundError), self.host.directory(folder) as parent:
                    discard(parent, self._staging(kind))

    def _remove_directories(self, paths: Iterable[str]) -> None:
        for path in paths:
            try:
                if not path:
                    os.rmdir(self.host.dest)
                    continue
                with self.host.directory(os.path.dirname(path)) as parent:
                    os.rmdir(os.path.basename(path), dir_fd=parent)
            except OSError as error:
                # Already gone, or in use by other files since, and so kept.
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def _sync(self, folders: Iterable[str]) -> None:
        for folder in folders:
            with contextlib.suppress(FileNotFoundError), self.host.directory(folder) as directory:
                sync_opened(directory)

    @contextlib.contextmanager
    def _places(self, folder: str) -> Iterator[tuple[int, int, int]]:
        """Open a directory and its staging directories for new and old files."""
        new, old = self._in(folder, "new"), self._in(folder, "old")
        with self.host.directory(folder) as a, self.host.directory(new) as b, self.host.directory(old) as c:
            yield a, b, c

    def _staging(self, kind: str) -> str:
        return f".{self.record['name']}-{self.record['transaction']}.{kind}"

    def _in(self, folder: str, kind: str) -> str:
        return os.path.join(folder, self._staging(kind))

    def _aside(self, path: str, kind: str) -> str:
        return os.path.join(self._in(os.path.dirname(path), kind), os.path.basename(path))


def _step(change: Change, kept: str = "") -> dict[str, Any]:
    kept = kept if change.before.kind == "file" else ""
    before, after = remembered(change.before, kept), remembered(change.after)
    step = {"path": change.path, "before": before, "after": after, "entries": dict(change.entries)}
    return {**step, "secret": True} if change.secret else step
