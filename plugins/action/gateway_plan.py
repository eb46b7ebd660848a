# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans a gateway from the plans of all serving hosts, or refuses with everything that cannot be granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import (
    adopted,
    certificates,
    fleet,
    frontends,
    servers,
    settings,
    vrrp,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.plan import check_name, gateway_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import gathered
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.course import gateway_rollouts
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import monitoring

# Of the words about who else listens on a port.
LONGEST = 100
SHARES = "/etc/haproxy/tfserving/maps/shares.map"


class ActionModule(Action):
    """Gathers what the run knows of the serving hosts, and the role's variables, which need not be handed over."""

    _requires_connection = False
    ARGUMENTS = {
        "version": {"type": "str", "default": ""},
        "only_check": {"type": "bool", "default": False},
        "pattern": {"type": "raw", "default": "tfserving"},
        "gateways": {"type": "raw", "default": "tfserving_gateways"},
        "records": {"type": "dict", "default": {}},
        "known": {"type": "dict", "default": {}},
        "rollouts": {"type": "dict", "default": {}},
        "states": {"type": "dict", "default": {}},
        "others": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan, and what the role's tasks need of it."""
        options = self.options()
        given = {name: self._templar.template(task_vars[name]) for name in settings.DEFAULTS if name in task_vars}
        hosts, hostvars = self.hosts_of(options["pattern"], task_vars), task_vars["hostvars"]
        gateway = task_vars["inventory_hostname"]
        names = self.hosts_of(options["gateways"], task_vars) or [gateway]
        vips = self._templar.template(task_vars.get("gateway_vips") or [])
        addresses = {name: fleet.address(hostvars[name]) for name in names}
        if options["only_check"]:
            check_name(gateway)
            wanted = settings.complete(given)
            certificates.check(wanted)
            frontends.check_wished(wanted)
            vrrp.instances(vips, gateway, addresses)
            for name in hosts:
                servers.check_name(name)
                servers.check_address(name, fleet.address(hostvars[name]))
            servers.check_gates(fleet.site(hostvars[name])["gate_port"] for name in hosts)
            if gateway == names[0]:
                wishes = gathered.wishes(hosts, hostvars)
                servers.check_models(fleet.wished(wishes))
                adopted.check_wished(wanted, wishes)
            return {}
        planned = {name: hostvars[name]["tfserving_plan"] for name in hosts if "tfserving_plan" in hostvars[name]}
        sites = {name: fleet.site(hostvars[name]) for name in hosts}
        serving, warnings = fleet.gathered(hosts, {**options["records"], **planned}, options["known"], sites)
        certificates.check(settings.complete(given))
        # The gateway's own record is a file that anybody may have damaged.
        checked = servers.checked(serving)
        own = _ports(checked[gateway]["instances"] if gateway in checked else [])
        told_by = {name: hostvars[name].get("serving_rollouts") or {} for name in hosts}
        states = gathered.known(options["states"], told_by)
        rollouts = {**gateway_rollouts(states, fleet.serving_hosts(checked)), **options["rollouts"]}
        others = {int(port): told(who, LONGEST) for port, who in options["others"].items() if str(port).isdecimal()}
        plan = gateway_plan(
            serving,
            given,
            options["version"],
            gateway,
            len(names),
            rollouts,
            own,
            others,
            ":" in addresses[gateway],
            fleet.readers(
                monitoring.present(self.hosts_of(monitoring.GROUP, task_vars), hostvars), hostvars, hostvars[gateway]
            ),
        )
        return {
            "plan": {**plan, "warnings": [*warnings, *plan["warnings"]]},
            "fleet": serving,
            "vrrp": vrrp.instances(vips, gateway, addresses),
            "tune": [f"{each['name']} {each['value']}" for each in plan["tune"]],
            "ports": [plan["bind"]["status_port"], *(each["port"] for each in plan["frontends"])],
            "shares": {SHARES: plan["maps"]["shares"]} if plan["maps"]["shares"] else {},
        }


def _ports(instances: Sequence[Mapping[str, Any]]) -> list[int]:
    return [port for each in instances for port in each["ports"].values()]
