# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Verifies a bundle on the controller and sends a host the missing files of its part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.bundle import sending
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle

MODULE = "tfserving.fleet.bundle_files"


class ActionModule(Action):
    """One call where the host has its part, two where anything is sent."""

    _requires_connection = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result with the variables that stand in for the inventory's."""
        self.require(("directory", "wishes", "release"))
        arguments = dict(self._task.args)
        directory, wish, release = arguments.pop("directory"), arguments.pop("wishes"), arguments["release"]
        artifacts = sending.verified(directory, C.DEFAULT_LOCAL_TMP)
        variables = bundle.overrides(wish, artifacts, directory, release)
        arguments["files"] = bundle.files(wish, artifacts, release)
        result = self.call(MODULE, arguments, task_vars)
        needs = result.pop("needs", [])
        if needs:
            result = self.call(MODULE, {**arguments, "parcel": self._send(directory, needs)}, task_vars)
        return {**result, "variables": variables}

    def _send(self, directory: str, paths: Sequence[str]) -> str:
        target = self.on_host("tfserving-bundle.tar")
        self._transfer_file(sending.packed(directory, paths, C.DEFAULT_LOCAL_TMP), target)
        self._fixup_perms2((self._connection._shell.tmpdir, target), execute=False)
        return target
