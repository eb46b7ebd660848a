# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Begins the way back of a roll-out, and says what hosts have answered on it."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import back
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states


class ActionModule(Action):
    """Reads what was registered on each host itself: a template over 200 hosts takes as long as asking them."""

    _requires_connection = False
    ARGUMENTS = {
        "part": {"type": "str", "choices": ["begin", "decide", "report"], "required": True},
        "model": {"type": "str", "default": ""},
        "reason": {"type": "str", "default": ""},
        "at": {"type": "float", "default": 0},
        "began": {"type": "float", "default": 0},
        "state": {"type": "dict"},
        "hosts": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what follows, or refuse in one sentence."""
        given, now = self.options(), time.time()
        if given["part"] == "begin":
            if not given["model"]:
                raise WishError("model", "is missing", "add -e model=NAME")
            gateways = self.hosts_of("tfserving_gateways", task_vars) if task_vars.get("ansible_limit") else []
            back.refuse_limit(gateways, task_vars["ansible_play_hosts_all"])
            # The parent of this worker is the run.
            return {"at": now, "began": now - (process.age_s(os.getppid()) or 0.0)}
        said = {host: task_vars["hostvars"][host] for host in given["hosts"]}
        returned = {host: each.get("rollout_returned") or {} for host, each in said.items()}
        if given["part"] == "report":
            return {"text": back.line(states.from_json(given["state"]), returned, now - given["began"])}
        found = {host: each.get("rollout_found") or {} for host, each in said.items()}
        state = back.decided(given["model"], returned, found, given["reason"], given["at"])
        return {"state": state.to_json(), "decided": back.short(state)}
