# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finishes the document of a benchmark, and shows it as text, Markdown and a page."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import publish


class ActionModule(Action):
    """Reads and writes files on the controller, and prints."""

    _requires_connection = False
    ARGUMENTS = {
        "output": {"type": "str", "required": True},
        "against": {"type": "str"},
        "despite_differences": {"type": "bool", "default": False},
        "evidence": {"type": "list", "elements": "dict", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict and the files."""
        given = self.options()
        # One for each instance; of a reader that failed there are no samples.
        samples, of_other = [*(each.get("samples") or [] for each in given["evidence"]), [], []][:2]
        published = publish.publish(given["output"], samples, given["against"], given["despite_differences"], of_other)
        Display().display(f"\n{published.text}")
        return {"verdict": published.verdict, "files": published.files}
