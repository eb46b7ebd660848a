# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Takes back what an installation changed in apt's files, and fails with the installation's own words."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import pack
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, words

TREE = "tfserving.fleet.template_tree"
APT = "ansible.legacy.apt"
BACK = "The sources, preferences and keyrings of apt are again as they were."


class ActionModule(Action):
    """Three calls at the most: a broken repository would otherwise break every apt command of the host."""

    ARGUMENTS = {"tree": {"type": "str", "required": True}, "failed": {"type": "dict", "required": True}}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the failure."""
        options = self.options()
        reason = words(options["failed"])
        restored = self._tree(options["tree"], "restored", task_vars)
        if restored.get("failed"):
            return {"failed": True, "msg": f"{reason} And apt could not be restored: {words(restored)}"}
        back = restored["changed"] and not self._task.check_mode
        if back:
            # What fails here is not the collection's.
            self.call(APT, {"update_cache": True}, task_vars)
        if not self._task.check_mode:
            self._tree(options["tree"], "proven", task_vars)
        return {"failed": True, "changed": restored["changed"], "msg": f"{reason} {BACK}" if back else reason}

    def _tree(self, name: str, state: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        return self.call(TREE, {"name": name, "state": state, "_parcel": pack({}, [])}, task_vars)
