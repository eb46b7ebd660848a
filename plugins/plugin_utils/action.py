# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Base class of the collection's actions: one way to fail, to call a module, to keep a result private."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader, lookup_loader
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

Variables = Mapping[str, Any]


class Action(ActionBase):
    """An action of the collection: ``perform`` does the work, and a WishError becomes the task's message."""

    ARGUMENTS: Mapping[str, Mapping[str, Any]] | None = None
    """The options of an action that runs on the controller only; others leave theirs to their module."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of ``perform``, or a failure with the sentence of a refusal."""
        super().run(tmp, task_vars)
        try:
            return {"changed": False, **self.perform(task_vars or {})}
        except WishError as error:
            refusal = self.refusal(error)
        # Outside the except block there is no exception context, so nothing but the sentence is printed.
        return {"failed": True, "changed": False, **refusal}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do the work of the action and return its result, or raise WishError."""
        raise NotImplementedError

    def refusal(self, error: WishError) -> dict[str, Any]:
        """Return the keys of a refused result."""
        return {"msg": str(error)}

    def options(self, **rules: Any) -> dict[str, Any]:
        """Return the task's arguments, checked against ``ARGUMENTS`` and, as modules call them, further rules."""
        _result, options = self.validate_argument_spec(self.ARGUMENTS, **rules)
        return dict(options)

    def require(self, names: Iterable[str]) -> None:
        """Refuse a task that lacks an argument."""
        for name in sorted(set(names) - set(self._task.args)):
            raise WishError(name, "is missing", "give it to the task")

    def beside_inventory(self, task_vars: Variables, name: str) -> str:
        """Return the path on the controller of a file that an inventory names."""
        path, inventory = os.path.expanduser(name), task_vars.get("inventory_dir")
        return os.path.join(inventory, path) if isinstance(inventory, str) else str(self._loader.path_dwim(path))

    def hosts_of(self, pattern: Any, task_vars: dict[str, Any]) -> list[str]:
        """Return the hosts of the inventory that a pattern matches, whatever the limit."""
        texts = [each for each in (pattern if isinstance(pattern, list) else [pattern]) if isinstance(each, str)]
        if not texts:
            return []
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        return list(lookup.run([":".join(texts)], variables=task_vars))

    def join(self, group: str, task_vars: dict[str, Any], *parents: str) -> dict[str, Any]:
        """Add the host to a group as ansible.builtin.group_by does, in the same task; return keys of the result.

        A task of its own would cost a process for each host.
        """
        task = self._task.copy()
        task.args = {"key": group, "parents": list(parents)} if parents else {"key": group}
        place = {"connection": self._connection, "play_context": self._play_context, "loader": self._loader}
        grouping = action_loader.get(
            "ansible.builtin.group_by", task=task, templar=self._templar, shared_loader_obj=None, **place
        )
        result = grouping.run(task_vars=task_vars)
        return {key: result[key] for key in ("add_group", "parent_groups")}

    def on_host(self, name: str) -> str:
        """Return the path of a file in Ansible's temporary directory of this task on the host."""
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        return str(shell.join_path(shell.tmpdir, name))

    def call(self, module: str, arguments: Mapping[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run a module on the host and return its result."""
        return dict(self._execute_module(module_name=module, module_args=dict(arguments), task_vars=task_vars))


def private(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result that is registered but never printed, unlike the message of a failure."""
    return {**result, "_ansible_no_log": True}


def words(failed: Mapping[str, Any]) -> str:
    """Return what the result of a failed task says: what its program wrote, or else its message."""
    said = (str(failed.get(key) or "").strip() for key in ("stderr", "msg"))
    return next(filter(None, said), "no reason was given")
