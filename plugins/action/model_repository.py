# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sends missing model versions from the controller to a host; the module does everything else."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import sentences
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import parcels
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models.arguments import module_arguments
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models.origins import Origins, of_task

MODULE = "tfserving.fleet.model_repository"


class ActionModule(Action):
    """Asks the host what is missing, sends only that, and lets the module publish it."""

    _requires_connection = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result: one call where the controller has nothing to give, two where it has."""
        arguments = module_arguments(self._task.args)
        result = self.call(MODULE, arguments, task_vars)
        needs = result.pop("needs", [])
        if not needs:
            return result
        check_mode = self._task.check_mode
        origins = self._origins(fetch=not check_mode)
        found = parcels.of_needs(needs, origins, C.DEFAULT_LOCAL_TMP, pack=not check_mode)
        same = {key: {"same": True} for key, parcel in found.items() if parcel is None}
        if check_mode:
            # Asked again where sources turned out to be what is published.
            result = self.call(MODULE, {**arguments, "staged": same}, task_vars) if same else result
            result.pop("needs", None)
            return self._noted(result, origins)
        parcels.require_room(needs, found, result["room"])
        sent: dict[str, dict[str, Any]] = {}
        try:
            for key, parcel in found.items():
                if parcel is not None:
                    sent[key] = self._send(parcel, arguments.get("staging"))
            return self._noted(self.call(MODULE, {**arguments, "staged": {**same, **sent}}, task_vars), origins)
        finally:
            self._clean(sent)

    def refusal(self, error: WishError) -> dict[str, Any]:
        """Return what the module says of a refusal."""
        return {**super().refusal(error), "problems": sentences(error)}

    def _origins(self, fetch: bool) -> Origins:
        return of_task(self._task.args, self._loader.path_dwim, C.DEFAULT_LOCAL_TMP, fetch)

    def _noted(self, result: dict[str, Any], origins: Origins) -> dict[str, Any]:
        return {**result, "notes": [*origins.notes, *result.get("notes", [])]} if not result.get("failed") else result

    def _send(self, parcel: parcels.Parcel, staging: str | None) -> dict[str, Any]:
        if not parcel["file"]:
            return {"incoming": True, "sha256": parcel["sha256"], "directory": parcel["directory"]}
        shell, name = self._connection._shell, f"tfserving-model-{uuid.uuid4().hex}"
        target = shell.join_path(staging, name) if staging else self.on_host(name)
        self._transfer_file(parcel["file"], target)
        self._fixup_perms2((target,) if staging else (shell.tmpdir, target), execute=False)
        return {"path": target, "sha256": parcel["sha256"], "directory": parcel["directory"]}

    def _clean(self, sent: Mapping[str, Mapping[str, Any]]) -> None:
        """Leave nothing in a staging directory; Ansible's own temporary directory goes after the task."""
        for parcel in sent.values():
            if "path" in parcel and os.path.dirname(parcel["path"]) != self._connection._shell.tmpdir:
                self._low_level_execute_command(self._connection._shell.remove(parcel["path"]))
