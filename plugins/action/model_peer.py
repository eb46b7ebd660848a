# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells a host what a version is that it copies from another one; the module does everything else."""

from __future__ import annotations

from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import copies, origins

MODULE = "tfserving.fleet.model_peer"

# What the controller keeps to itself.
KEPT = ("models", "sources", "imports", "download_timeout")


class ActionModule(Action):
    """Adds to a transfer the manifest that the controller has made of its own copy."""

    _requires_connection = True
    _supports_async = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result."""
        given = self._task.args
        if "manifest" in given:
            raise WishError("manifest", "is set by this action itself", "remove it from the task")
        passed = {key: value for key, value in given.items() if key not in KEPT}
        if given.get("state") == "query":
            passed["models"] = copies.named(given.get("models"))
        elif given.get("state") in ("offer", "pull") and not self._task.check_mode:
            found = origins.of_task(given, self._loader.path_dwim, C.DEFAULT_LOCAL_TMP, fetch=True)
            passed["manifest"] = copies.manifest(given, found, C.DEFAULT_LOCAL_TMP)
        later = self._task.async_val
        return dict(self._execute_module(MODULE, passed, task_vars=task_vars, wrap_async=later))
