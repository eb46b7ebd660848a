# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts the probes of a host on a load host, or fetches what they saw."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import probe
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import fleet, settings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import gate


class ActionModule(Action):
    """Runs on a load host, for the host that is diagnosed."""

    _requires_connection = True
    ARGUMENTS = {
        "load_host": {"type": "str", "required": True},
        "generator": {"type": "dict", "required": True},
        "state": {"type": "str", "choices": ["started", "fetched"], "required": True},
        "plan": {"type": "dict", "default": {}},
        "instances": {"type": "list", "elements": "str", "default": []},
        "seconds": {"type": "float", "default": 10.0},
        "given": {"type": "dict", "default": {}},
        "folder": {"type": "str"},
        "running": {"type": "list", "elements": "dict", "default": []},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the probes that run, or what they saw; why one could not run is part of either."""
        given = self.options()
        place = here.opened(self, given["load_host"], given["generator"], here.orphaned(), given["folder"])
        if given["state"] == "fetched":
            try:
                return probe.ended(place, given["running"])
            finally:
                here.closed(place)
        found: dict[str, Any] = {"running": []}
        try:
            found = probe.started(place, self._wanted(given, task_vars))
        finally:
            if not found["running"]:
                here.closed(place)
        return {**found, "folder": place.folder}

    def _wanted(self, given: dict[str, Any], task_vars: dict[str, Any]) -> probe.Wanted:
        gateways = task_vars["groups"].get(gate.GROUP) or []
        gateway = _gateway(task_vars["hostvars"][gateways[0]]) if gateways else None
        host = task_vars["inventory_hostname"]
        asked = {name: given[name] for name in ("plan", "instances", "seconds", "given")}
        return probe.Wanted(
            host,
            # Where the task is delegated, its own variables are those of the load host.
            fleet.address(task_vars["hostvars"][host]),
            gateway=gateway,
            through=_first_here(given["plan"], task_vars),
            **asked,
        )


def _gateway(variables: Any) -> dict[str, Any]:
    found = {name: variables[name] for name in settings.DEFAULTS if name in variables}
    return {**found, "address": fleet.address(variables)}


def _first_here(plan: dict[str, Any], task_vars: dict[str, Any]) -> list[str]:
    """Return the instances that no earlier host of the play has: a gateway sends calls to any of them."""
    hosts = list(task_vars["ansible_play_hosts_all"])
    records = [task_vars["hostvars"][host].get("diagnosis_record") for host in hosts]
    earlier = records[: hosts.index(task_vars["inventory_hostname"])]
    before = _instances((record or {}).get("plan") for record in earlier)
    return [name for name in _instances([plan]) if name not in before]


def _instances(plans: Any) -> list[str]:
    return [str(each["name"]) for plan in plans for each in (plan or {}).get("instances") or ()]
