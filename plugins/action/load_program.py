# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Copies a program of the collection to a host as one file."""

from __future__ import annotations

import tempfile
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import program

MODE = "0600"


class ActionModule(Action):
    """Makes the file and has Ansible's own action copy it."""

    _requires_connection = True
    ARGUMENTS = {
        "dest": {"type": "str", "required": True},
        "program": {"type": "str", "choices": [program.LOAD, program.OPTIMIZER], "default": program.LOAD},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the copy."""
        options = self.options()
        with tempfile.NamedTemporaryFile(dir=C.DEFAULT_LOCAL_TMP, suffix=".zip") as file:
            file.write(program.archive(options["program"]))
            file.flush()
            return self._copy({"src": file.name, "dest": options["dest"], "mode": MODE}, task_vars)

    def _copy(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        task = self._task.copy()
        task.args = arguments
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return dict(action.run(task_vars=task_vars))
