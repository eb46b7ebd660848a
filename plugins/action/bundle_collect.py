# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Works out what a fleet fetches, lets a builder fetch it, and copies missing files to the controller's bundle."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.parcel import lacking
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.bundle import collecting

MODULE = "tfserving.fleet.bundle_collect"


class ActionModule(Action):
    """One call fetches; a second one packs the files that the controller is missing."""

    _requires_connection = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result, changed where files were added to the bundle."""
        if self._task.check_mode:
            return {"skipped": True, "msg": "a bundle is made or it is not; nothing is fetched in check mode"}
        self.require(("directory", "wishes"))
        given = dict(self._task.args)
        directory = given.pop("directory")
        asked = collecting.arguments(given.pop("wishes"), given.pop("only_packages", False))
        result = self.call(MODULE, {**given, **asked}, task_vars)
        if result.get("failed"):
            return result
        with collecting.writing(directory):
            lacks = lacking(directory, result["artifacts"])
            if lacks:
                parcel = self.on_host("tfserving-bundle.tar")
                packed = self.call(MODULE, {**given, "send": lacks, "parcel": parcel}, task_vars)
                if packed.get("failed"):
                    return packed
                collecting.unpack(self._fetch(parcel), directory, result["artifacts"], lacks)
        return {**result, "changed": bool(lacks), "sent": lacks}

    def _fetch(self, path: str) -> str:
        """Return the file on the controller that a file of the host was copied to."""
        handle, target = tempfile.mkstemp(prefix="tfserving-bundle-", dir=C.DEFAULT_LOCAL_TMP)
        os.close(handle)
        self._connection.fetch_file(path, target)
        return target
