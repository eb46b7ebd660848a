# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Action that prints a text as it is."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Print the text and change nothing."""

    _requires_connection = False
    _VALID_ARGS = frozenset({"text"})

    def run(self, tmp=None, task_vars=None):
        """Print ``text`` below the task's header."""
        super().run(tmp, task_vars)
        _result, arguments = self.validate_argument_spec({"text": {"type": "str", "required": True}})
        Display().display("\n" + arguments["text"].rstrip("\n") + "\n")
        return {"changed": False}
