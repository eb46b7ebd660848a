# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Works out what a fleet fetches, lets a builder fetch it, and copies missing files to the controller's bundle."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.parcel import lacking, unpack
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle

MODULE = "tfserving.fleet.bundle_collect"


class ActionModule(ActionBase):
    """One call fetches; a second one packs the files that the controller is missing."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, changed where files were added to the bundle."""
        super().run(tmp, task_vars)
        if self._task.check_mode:
            return {"skipped": True, "msg": "a bundle is made or it is not; nothing is fetched in check mode"}
        arguments = dict(self._task.args)
        directory = arguments.pop("directory")
        try:
            needs = bundle.needs(arguments.pop("wishes"))
            if arguments.pop("only_packages", False):
                needs.update(images=[], downloads=[])
            headers = {wish["path"]: wish.pop("headers") for wish in needs["downloads"]}
            secret = base64.b64encode(json.dumps(headers).encode()).decode() if any(headers.values()) else ""
            result = self._call({**arguments, **needs, "headers": secret}, task_vars)
            if result.get("failed"):
                return result
            lacks = lacking(directory, result["artifacts"])
            if lacks:
                moved = self._fetch(arguments, lacks, task_vars)
                if isinstance(moved, Mapping):
                    return dict(moved)
                unpack(moved, directory, [entry for entry in result["artifacts"] if entry["path"] in lacks])
                os.unlink(moved)
        except WishError as error:
            return {"failed": True, "msg": str(error)}
        except OSError as error:
            return {"failed": True, "msg": f"bundle_dir: {directory} cannot be written ({error}); choose another place"}
        return {**result, "changed": bool(lacks), "sent": lacks}

    def _fetch(self, arguments: Mapping[str, Any], paths: list[str], task_vars: Any) -> Any:
        """Return the file on the controller that holds these files, or the result of a module that failed."""
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        parcel = shell.join_path(shell.tmpdir, "tfserving-bundle.tar")
        result = self._call({**arguments, "send": paths, "parcel": parcel}, task_vars)
        if result.get("failed"):
            return result
        handle, target = tempfile.mkstemp(prefix="tfserving-bundle-", dir=C.DEFAULT_LOCAL_TMP)
        os.close(handle)
        self._connection.fetch_file(parcel, target)
        return target

    def _call(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=dict(arguments), task_vars=task_vars
        )
        return result
