# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A tree of files on a host: one call of template_tree, from finishing an interrupted run to the report."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import WishError
from . import point as atomic_tree_point
from .change import Change, Plan, merged, report
from .files import ABSENT, Host, naming
from .state import COMMITTED, JOURNAL, MANIFEST, POINT, PREPARE, SCHEMA, Record, Store
from .transaction import Transaction, Validator, recorded


@dataclass
class Outcome:
    """The result of a run, or in check mode of the run that would follow."""

    plan: Plan
    report: Mapping[str, Any]
    changed: bool
    recovered: bool
    warnings: list[str] = field(default_factory=list)


class Tree:
    """One tree on one host."""

    def __init__(self, state: str, name: str, dest: str) -> None:
        self.name = name
        self.host = Host(dest)
        self.store = Store(os.path.join(state, name))

    def run(
        self, planner: Callable[[Host, Record], Plan], validate: Validator, check: bool = False, unproven: bool = False
    ) -> Outcome:
        """Finish an interrupted run, make a plan and carry it out; with ``check`` only report.

        ``unproven`` makes the changes restorable until they are proven (tree/point.py). Raises WishError, after which
        every file is as it was before the plan.
        """
        if check:
            missed = self.interrupted()
            return self._outcome(self._plan(planner), missed, [])
        with self.store.locked():
            missed = self.recover()
            plan = self._plan(planner)
            late = self._settle(plan) if plan.empty else self._carry_out(plan, validate, missed, unproven)
            return self._outcome(plan, missed, late)

    def remember(self, path: str) -> None:
        """Let ``state=restored`` bring back a file that something other than the tree is about to write."""
        with self.store.locked():
            self.recover()
            with naming(self.store.path):
                plan = Plan(changes=[Change(path, self.host.see(path), ABSENT)])
                atomic_tree_point.remember(self.store, self.manifest(), plan)

    def unproven(self) -> bool:
        """Return whether there is an unproven change that can be taken back."""
        return self.store.load(POINT) is not None

    def prove(self) -> None:
        """Delete the restore point: the service that the files describe works, or they have been restored."""
        if self.unproven():
            with self.store.locked(), naming(self.store.path):
                atomic_tree_point.close(self.store)

    def manifest(self) -> Record:
        """Return the record of the last change; an empty one if there is none."""
        empty = {"files": {}, "directories": [], "revertable": False, "dest": self.host.dest, "transaction": ""}
        record = self.store.last() or empty
        if record["dest"] != self.host.dest and (record["files"] or record["directories"]):
            problem = f"the tree '{self.name}' is below {record['dest']}"
            raise WishError(self.host.shown, problem, "remove it there with state=absent or give this one another name")
        return record

    def kept(self, name: str) -> bytes:
        """Return a file that the last change saved."""
        return self.store.fetch(self.manifest()["transaction"], name)

    def interrupted(self) -> Mapping[str, Any] | None:
        """Return what interrupted runs may have changed without reporting it, or None if there were none.

        Afterwards ``host`` shows the files as ``recover`` would leave them.
        """
        found = None
        for phase in (PREPARE, JOURNAL, COMMITTED):
            record = self.store.load(phase)
            if not record:
                continue
            if phase == JOURNAL and record["dest"] == self.host.dest:
                Transaction(self.store, self.host, record).pretend_back()
            # A run in its preparation has changed nothing yet.
            touched = report(Plan(), self.host) if phase == PREPARE else record["report"]
            found = merged(found, touched) if found else touched
        return found

    def recover(self) -> Mapping[str, Any] | None:
        """Finish interrupted runs, and return the result of ``interrupted``.

        The record of a committed run stays until this run succeeds: if this one fails, the next still has to report it.
        """
        found = self.interrupted()
        self.host.moved.clear()
        for phase in (PREPARE, JOURNAL, COMMITTED):
            record = self.store.load(phase)
            if not record:
                continue
            transaction = Transaction(self.store, Host(record["dest"]), record)
            with naming(self.store.path):
                if phase == COMMITTED:
                    transaction.clear()
                else:
                    transaction.back(phase)
        return found

    def _plan(self, planner: Callable[[Host, Record], Plan]) -> Plan:
        manifest = self.manifest()
        with naming(self.host.shown):
            return planner(self.host, manifest)

    def _carry_out(
        self, plan: Plan, validate: Validator, missed: Mapping[str, Any] | None, unproven: bool
    ) -> list[str]:
        opened = False
        if unproven:
            with naming(self.store.path):
                opened = atomic_tree_point.remember(self.store, self.manifest(), plan)
        try:
            return self._commit(plan, validate, missed)
        except WishError:
            # Nothing has changed, so there is nothing to restore. A point opened earlier stays open.
            if opened:
                atomic_tree_point.close(self.store)
            raise

    def _commit(self, plan: Plan, validate: Validator, missed: Mapping[str, Any] | None) -> list[str]:
        """Carry out a plan, or raise WishError and leave everything as it was. Returns warnings."""
        last = self.manifest()
        changes = report(plan, self.host)
        record = {
            "schema": SCHEMA,
            "name": self.name,
            "dest": self.host.dest,
            "transaction": secrets.token_hex(8),
            "files": plan.files,
            "directories": plan.directories,
            "previous": {key: last[key] for key in ("files", "directories")},
            "revertable": plan.revertable,
            "report": merged(changes, missed) if missed else changes,
            "steps": recorded(plan),
        }
        transaction = Transaction(self.store, self.host, record)
        with naming(self.store.path):
            self.store.save(PREPARE, record)
        transaction.forward(plan, validate)
        try:
            transaction.clear()
            self.store.advance(COMMITTED, MANIFEST)
        except (OSError, WishError) as error:
            return [f"{self.store.path}: {error} while clearing up after the change; the next run goes on with it"]
        return []

    def _settle(self, plan: Plan) -> list[str]:
        """Update the manifest when the host needs no change (an entry was renamed, a file removed by hand)."""
        with naming(self.store.path):
            if self.store.load(COMMITTED):
                self.store.advance(COMMITTED, MANIFEST)
            record = self.manifest()
            if (record["files"], record["directories"]) != (plan.files, plan.directories):
                self.store.save(MANIFEST, {**record, "files": plan.files, "directories": plan.directories})
        return []

    def _outcome(self, plan: Plan, missed: Mapping[str, Any] | None, late: list[str]) -> Outcome:
        changes = report(plan, self.host)
        if missed:
            changes = merged(changes, missed)
        changed = not plan.empty or bool(changes["changed_files"])
        return Outcome(plan, changes, changed, missed is not None, plan.warnings + late)
