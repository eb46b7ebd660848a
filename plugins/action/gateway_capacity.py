# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses to take servers out of the traffic that the others could not carry."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import capacity


class ActionModule(Action):
    """Judges what the gateways have said; no host is asked."""

    _requires_connection = False
    ARGUMENTS = {
        "gateways": {"type": "list", "elements": "dict", "required": True},
        "hosts": {"type": "list", "elements": "str", "required": True},
        "instances": {"type": "list", "elements": "str", "default": []},
        "allow_outage": {"type": "bool", "default": False},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the reasons against it as warnings where an outage is allowed; raise WishError otherwise."""
        given = self.options()
        seen = {each["item"]: each.get("backends") or {} for each in given["gateways"]}
        reasons = capacity.may_leave(seen, given["hosts"], given["instances"])
        if reasons and not given["allow_outage"]:
            remedy = "add a host, wait for less traffic, or add -e fleet_allow_outage=true"
            raise WishError("fleet_allow_outage", f"is false, and {'; '.join(reasons)}", remedy)
        return {"warnings": reasons} if reasons else {}
