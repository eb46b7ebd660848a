# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Action that prints a text line by line, and keeps it or a longer one as a file on the controller."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import described
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines

# A report is for everyone with access to the folder it is written to.
MODE = 0o644
ARGUMENTS = {"text": {"type": "str"}, "content": {"type": "str"}, "dest": {"type": "raw"}}


class ActionModule(ActionBase):
    """Print the text, write the file where one is asked for, and change nothing on any host."""

    _requires_connection = False
    _VALID_ARGS = frozenset(ARGUMENTS)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print ``text`` below the task's header."""
        super().run(tmp, task_vars)
        _result, arguments = self.validate_argument_spec(ARGUMENTS, required_one_of=[("text", "content")])
        text, content = arguments["text"], arguments["content"]
        result: dict[str, Any] = {"changed": False}
        # Whatever becomes of the file, the text is what was asked for.
        if text is not None:
            Display().display("\n" + visible_lines(text.rstrip("\n")) + "\n")
        if arguments["dest"]:
            file = write(arguments["dest"], text if content is None else content)
            Display().display(f"Report: {visible_lines(file.as_uri())}\n")
            result["dest"] = str(file)
        return result


def write(dest: Any, content: str) -> Path:
    """Put ``content`` in place of the file ``dest`` as a whole, and return its absolute path."""
    if not isinstance(dest, str):
        raise AnsibleActionFail(f"dest: is {described(dest)}; give the path of a file")
    try:
        file = Path(dest).expanduser().absolute()
        if file.is_dir():
            raise AnsibleActionFail(f"dest: {file} is a directory; name a file in it")
        _replace(file, content)
    except OSError as error:
        why = error.strerror or str(error)
        raise AnsibleActionFail(f"dest: {dest} cannot be written ({why}); choose another place") from error
    except (
        RuntimeError,
        ValueError,
    ) as error:  # an unknown home; Pythons word a null byte in their own way
        why = "it holds a null byte" if "\0" in dest else str(error)
        raise AnsibleActionFail(f"dest: {dest!r} is not a path ({why}); choose another place") from error
    return file


def _replace(file: Path, content: str) -> None:
    # The umask is no help: what mkstemp makes is for its owner alone, and what a rename replaces is gone.
    handle, staged = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(staged, MODE)
        os.replace(staged, file)
    except BaseException:
        os.unlink(staged)
        raise
