# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans a monitoring host, or a host's exporters, or refuses with everything that cannot be granted."""

from __future__ import annotations

from typing import Any

from ansible.utils.encrypt import do_encrypt
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, private
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import (
    contents,
    exporters,
    fleet,
    libcrypt,
    sizes,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import settings as monitoring_settings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring.configuration import FOLDER
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring.plan import monitoring_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import gate
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import monitoring as watching


def hashed(password: str, salt: str, cost: int) -> str:
    """Return the bcrypt hash of a password, by the C library, or else by what Ansible finds: passlib."""
    found = libcrypt.bcrypt(password, salt, cost)
    return found or str(do_encrypt(password, "bcrypt", salt=salt, rounds=cost, ident="2b"))


class ActionModule(Action):
    """Gathers what the run knows of all hosts, and the role's variables, which need not be handed over."""

    _requires_connection = False
    ARGUMENTS = {
        "part": {"type": "str", "default": "plan", "choices": ["check", "plan", "exporters", "elsewhere"]},
        "pattern": {"type": "raw", "default": "tfserving"},
        "records": {"type": "dict", "default": {}},
        "state": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan, and the contents of the files, some of which are secret."""
        options, part = self.options(), self.options()["part"]
        names = monitoring_settings.DEFAULTS
        given = {name: self._templar.template(task_vars[name]) for name in names if name in task_vars}
        settings, host = monitoring_settings.complete(given), task_vars["inventory_hostname"]
        groups = {
            "serving": self.hosts_of(options["pattern"], task_vars),
            "gateway": self.hosts_of(gate.GROUP, task_vars),
            "monitoring": watching.present(self.hosts_of(watching.GROUP, task_vars), task_vars["hostvars"]),
        }
        exporters.check(settings)
        if part == "exporters":
            own = exporters.exporters(settings, host, task_vars, groups, options["state"], hashed)
            return private(own)
        state = options["state"]
        found, warnings = fleet.read(groups, task_vars["hostvars"], options["records"], state.get("fleet") or {})
        if part == "check":
            return {}
        if part == "elsewhere":
            return {"files": contents.elsewhere(found, settings), "warnings": warnings}
        plan = monitoring_plan(found, settings, host, **fleet.room(state))
        return private(
            {
                "plan": {**plan, "warnings": [*warnings, *plan["warnings"]]},
                "fleet": dict(found.serving),
                "text": sizes.text(plan["sizes"], host),
                "files": contents.files(found, settings, plan, host, FOLDER, hashed),
                **exporters.watcher(found, settings, host),
            }
        )
