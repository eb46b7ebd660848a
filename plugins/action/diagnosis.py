# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Diagnoses a fleet from the evidence of its hosts, prints the report and writes it to files."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import keep, publish


class ActionModule(Action):
    """Reads and writes files on the controller, and prints."""

    _requires_connection = False
    ARGUMENTS = {
        "folder": {"type": "str", "required": True},
        "against": {"type": "str", "default": ""},
        "asked": {"type": "list", "elements": "str", "default": []},
        "client": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return how the diagnosis ends, and the files of its report."""
        given = self.options()
        # A folder may hold evidence of an earlier run as well; where hosts were asked, that of this one counts.
        silent = [host for host in given["asked"] if not _kept(task_vars, host)]
        found = keep.read(given["folder"])
        evidence = {host: found[host] for host in given["asked"] or found if host in found and host not in silent}
        before = keep.read(given["against"]) if given["against"] else {}
        missing = {host: _why(task_vars, host) for host in silent}
        report = publish.published(given["folder"], evidence, missing, before, given["client"])
        Display().display(f"\n{report.text}")
        return {
            "diagnosis_exit": report.document["exit"],
            "files": report.files,
            "findings": report.document["findings"],
        }


def _kept(task_vars: dict[str, Any], host: str) -> bool:
    return bool((task_vars["hostvars"][host].get("diagnosis_kept") or {}).get("path"))


def _why(task_vars: dict[str, Any], host: str) -> str:
    """Return why a host gave no evidence; one that does not answer could not say so."""
    return str(task_vars["hostvars"][host].get("diagnosis_failure") or "it does not answer, see above")
