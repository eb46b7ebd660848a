# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Decides who copies which model version from whom, for all hosts of a play at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, private
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import copies, origins, wave_course


class ActionModule(Action):
    """Reads what the tasks of all hosts have said; no host is asked."""

    _requires_connection = False
    ARGUMENTS = {
        "hosts": {"type": "dict", "required": True},
        "setting": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "seeds": {"type": "int", "default": 1},
        "rate": {"type": "float", "default": 62.5e6},
        "state": {"type": "dict"},
        "imports": {"type": "path"},
        "download_timeout": {"type": "int", "default": 60},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the versions to copy, or the state of one of them after a wave."""
        given = self.options()
        if given["state"]:
            return private(wave_course.follow(given["state"], given["hosts"]))

        def size_of(host: str, model: str, version: int) -> int:
            return self._size(given, given["hosts"][host], model, version)

        versions = wave_course.begin(given["hosts"], given["setting"], given["seeds"], given["rate"], size_of)
        return private({"versions": versions, "nameless": wave_course.nameless(given["hosts"])})

    def _size(self, given: Mapping[str, Any], host: Mapping[str, Any], model: str, version: int) -> int:
        arguments = {key: given[key] for key in ("imports", "download_timeout") if given.get(key)}
        arguments |= {"models": host["models"], "sources": host.get("sources"), "model": model, "version": version}
        if not copies.is_sent(arguments):
            return 0
        looks = self._task.check_mode
        found = origins.of_task(arguments, self._loader.path_dwim, C.DEFAULT_LOCAL_TMP, fetch=not looks)
        if looks:
            return copies.size(arguments, found, C.DEFAULT_LOCAL_TMP)
        manifest = copies.manifest(arguments, found, C.DEFAULT_LOCAL_TMP)
        return sum(size for _digest, size in manifest["files"].values())
