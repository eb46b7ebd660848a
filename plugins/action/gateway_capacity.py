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
        seen = {each["item"]: each for each in given["gateways"]}
        unheard = capacity.unheard(seen)
        backends = {name: each.get("backends") or {} for name, each in seen.items()}
        models = set().union(*(capacity.served(each.get("fleet")) for each in seen.values()))
        reasons = capacity.may_leave(backends, given["hosts"], given["instances"], models)
        for found, remedy in (
            (unheard, "restart haproxy.service there"),
            (reasons, "add a host, wait for less traffic"),
        ):
            if found and not given["allow_outage"]:
                remedy = f"{remedy}, or add -e '{{\"fleet_allow_outage\": true}}'"
                raise WishError("fleet_allow_outage", f"is false, and {'; '.join(found)}", remedy)
        warnings = [*unheard, *reasons]
        return {"warnings": warnings} if warnings else {}
