# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Moves the share of the calls that new instances get beside their old servers, and judges each step."""

from __future__ import annotations

import time
from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import share
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import gateway_settings


class ActionModule(Action):
    """Reads and writes the inventory of an adoption on the controller, and prints."""

    _requires_connection = False
    ARGUMENTS = {
        "folder": {"type": "str", "default": ""},
        "part": {"type": "str", "choices": ["course", "record", "look"], "required": True},
        "adopted": {"type": "raw", "default": []},
        "rules": {"type": "raw", "default": {}},
        "share": {"type": "raw"},
        "models": {"type": "list", "elements": "str", "default": []},
        "answers": {"type": "dict", "default": {}},
        "seen": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the course, or what a look or a record came to."""
        given = self.options()
        if given["part"] == "course":
            found = share.course(given["folder"], given["adopted"], given["rules"], given["share"])
            gateways = self.hosts_of("tfserving_gateways", task_vars) if found["is_watched"] else []
            gateway_settings.check(gateway_settings.of(gateways, task_vars["hostvars"]))
        elif given["part"] == "record":
            is_new = not self._task.check_mode and share.record(given["folder"], int(given["share"]))
            return {"changed": is_new}
        else:
            answers = {name: share.by_model(each) for name, each in given["answers"].items()}
            found = share.looked(given["models"], answers, given["seen"], given["rules"], time.time())
        Display().display(visible_lines(found["text"]))
        return found
