# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Action that prints a text line by line, and keeps it or a longer one as a file on the controller."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.file import write


class ActionModule(Action):
    """Prints the text, writes the file where one is asked for, and changes nothing on any host."""

    _requires_connection = False
    ARGUMENTS = {"text": {"type": "str"}, "content": {"type": "str"}, "dest": {"type": "raw"}}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Print ``text`` below the task's header."""
        given = self.options(required_one_of=[("text", "content")])
        text, content = given["text"], given["content"]
        # Whatever becomes of the file, the text is what was asked for.
        if text is not None:
            Display().display("\n" + visible_lines(text.rstrip("\n")) + "\n")
        if not given["dest"]:
            return {}
        file = write(given["dest"], text if content is None else content)
        Display().display(f"Report: {visible_lines(file.as_uri())}\n")
        return {"dest": str(file)}
