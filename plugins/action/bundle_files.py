# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Verifies a bundle on the controller and sends a host the missing files of its part."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import manifest as bundle_manifest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import names as bundle_names
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import parcel as bundle_parcel
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.turn import turn
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle

MODULE = "tfserving.fleet.bundle_files"


class ActionModule(ActionBase):
    """One call where the host has its part, two where anything is sent."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result with the variables that stand in for the inventory's."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        directory, wish, release = arguments.pop("directory"), arguments.pop("wishes"), arguments["release"]
        try:
            artifacts = proven(directory, C.DEFAULT_LOCAL_TMP)
            variables = bundle.overrides(wish, artifacts, directory, release)
            arguments["files"] = bundle.files(wish, artifacts, release)
        except WishError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        except OSError as error:
            problem = f"{bundle_names.BUNDLE}: {directory} cannot be read ({error}); make it readable"
            return {"failed": True, "changed": False, "msg": problem}
        result = self._call(arguments, task_vars)
        needs = result.pop("needs", [])
        if needs:
            result = self._call({**arguments, "parcel": self._send(directory, needs)}, task_vars)
        return {**result, "variables": variables}

    def _send(self, directory: str, paths: list[str]) -> str:
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        key = hashlib.sha256("\0".join([directory, *paths]).encode()).hexdigest()
        local = os.path.join(C.DEFAULT_LOCAL_TMP, f"tfserving-bundle-{key}.tar")
        # Hosts that lack the same share the parcel.
        with turn(f"{local}.lock"):
            if not os.path.exists(local):
                bundle_parcel.pack(directory, paths, f"{local}.part")
                os.replace(f"{local}.part", local)
        target: str = shell.join_path(shell.tmpdir, "tfserving-bundle.tar")
        self._transfer_file(local, target)
        self._fixup_perms2((shell.tmpdir, target), execute=False)
        return target

    def _call(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=dict(arguments), task_vars=task_vars
        )
        return result


def proven(directory: str, cache: str) -> dict[str, dict[str, Any]]:
    """Return a bundle's artifacts; the files are read once for all hosts of a run.

    ``cache`` is Ansible's temporary directory of this run, which all of its workers share. Raises WishError, OSError.
    """
    note = os.path.join(cache, f"tfserving-bundle-{hashlib.sha256(directory.encode()).hexdigest()}")
    with turn(f"{note}.lock"):
        if os.path.exists(note):
            return bundle_manifest.read(directory)
        artifacts = bundle_manifest.verified(directory)
        with open(note, "w", encoding="ascii"):
            return artifacts
