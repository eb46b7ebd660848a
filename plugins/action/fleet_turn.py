# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Talks with the runner of a sliced run: waits for the other slices, takes and ends a turn, hands a result over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import version
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import member, results


class ActionModule(Action):
    """Waits as long as it takes; outside a sliced run there is nobody to wait for."""

    _requires_connection = False
    ARGUMENTS = {
        "state": {"type": "str", "choices": ["ready", "take", "give", "share", "tell"], "required": True},
        "kind": {"type": "str", "required": True},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "drivers": {"type": "list", "elements": "str", "default": []},
        "content": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the runner's answer."""
        given, me = self.options(), member.member(os.getppid())
        if me is None or not me.number:
            return {}
        if given["state"] in ("tell", "share"):
            return self._hand_over(me, given)
        own = set(task_vars["ansible_play_hosts_all"])
        hosts = {name: [host for host in given[name] if host in own] for name in ("hosts", "drivers")}
        return me.ask({"ask": given["state"], "kind": given["kind"], **hosts})

    def _hand_over(self, me: member.Member, given: dict[str, Any]) -> dict[str, Any]:
        folder, kind = Path(me.folder), given["kind"]
        results.keep(folder, kind, me.number, version(), given["content"])
        if given["state"] == "tell":
            return {}
        here = me.ask({"ask": "share", "kind": kind})["slices"]
        return {"shared": results.merged(folder, kind, here, version())}
