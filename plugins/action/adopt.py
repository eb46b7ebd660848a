# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Judges the surveys of hosts, and writes an inventory that equals their servers, with a report."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import publish


class ActionModule(Action):
    """Reads the facts of hosts, writes a new folder on the controller, and prints."""

    _requires_connection = False
    ARGUMENTS = {
        "folder": {"type": "str", "required": True},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "state": {"type": "str", "choices": ["written", "free"], "default": "written"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the findings and the files of the folder."""
        given = self.options()
        if given["state"] == "free":
            return {"folder": publish.checked(given["folder"])}
        known = {host: task_vars["hostvars"][host] for host in given["hosts"]}
        surveys = {host: each["adopt_survey"] for host, each in known.items() if _whole(each)}
        topologies = {host: known[host]["adopt_topology"] for host in surveys}
        missing = {host: _why(each) for host, each in known.items() if host not in surveys}
        done = publish.publish(given["folder"], surveys, topologies, missing)
        Display().display(visible_lines(f"\n{done.text}"))
        return {"folder": done.folder, "files": done.files, "findings": done.document["findings"]}


def _whole(variables: Any) -> bool:
    return bool(variables.get("adopt_survey")) and bool(variables.get("adopt_topology"))


def _why(variables: Any) -> str:
    """Return why a host gave no survey; one that does not answer could not say so."""
    return str(variables.get("adopt_failure") or "it does not answer, see above")
