# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps of an optimisation on the controller: what is asked, what may be built, the gate, the new version."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import steps, wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.wishes import Wish
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory


class ActionModule(Action):
    """Keeps what is large in a folder of this run, which Ansible removes however the run ends."""

    _requires_connection = False
    ARGUMENTS = {
        "step": {"type": "str", "required": True, "choices": ["wishes", "original", "requests", "judge", "conclude"]},
        "wish": {"type": "dict"},
        "given": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what a step finds, or refuse in one sentence."""
        options = self.options()
        step, given = options["step"], options["given"]
        if step == "wishes":
            return self._wishes(task_vars)
        wish = steps.wish_of(options["wish"])
        if step == "conclude":
            return self._concluded(wish, given, task_vars)
        if step == "original":
            return steps.original(given["plan"], wish, given["conditions"])
        return steps.asked(wish, self._work(), given) if step == "requests" else {"entry": self._judged(wish, given)}

    def _wishes(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        extra = load_extra_vars(self._loader)
        wish = wishes.read({name: extra[name] for name in ("instance", *wishes.FIELDS) if name in extra})
        wishes.refuse_misspelt(extra, inventory.role_options())
        for path in filter(None, (wish.requests, wish.labels)):
            wishes.require_file(path)
        builders = self.hosts_of(wishes.GROUP, task_vars) or [wishes.CONTROLLER]
        return {"wish": asdict(wish), "builder": builders[0], "work": self._work()}

    def _work(self) -> str:
        folder = Path(C.DEFAULT_LOCAL_TMP) / "optimization"
        folder.mkdir(mode=0o700, exist_ok=True)
        return str(folder)

    def _judged(self, wish: Wish, given: dict[str, Any]) -> dict[str, Any]:
        entry = steps.judged(wish, self._work(), given)
        failing = [row["sentence"] for row in entry["rows"] if not row["passed"]]
        self._tell(f"  {entry['kind']}: {failing[0] if failing else 'its answers pass the gate'}")
        return entry

    def _concluded(self, wish: Wish, given: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        wished = task_vars["hostvars"][given["host"]].get("tfserving_models") or []
        folder = str(task_vars.get("inventory_dir") or os.getcwd())
        found = steps.concluded(wish, given, wished, folder, self._work())
        self._tell(f"\n{found['text']}")
        return found

    def _tell(self, text: str) -> None:
        Display().display(visible_lines(text))
