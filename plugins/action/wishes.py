# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks the variables of an inventory, all at once, before a host is asked anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, private
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import (
    derived,
    gate,
    golden,
    inventory,
    monitoring,
    read,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy

# Hosts whose wishes name a bundle join a group, so that plays for them cost no others a task.
BUNDLE = "tfserving_fleet_bundle"
BUNDLED = "fleet_bundled"


class ActionModule(Action):
    """Reads the variables of the host where Ansible has them; they need not be handed over."""

    _requires_connection = False
    ARGUMENTS = {"options": {"type": "dict"}}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what follows from the roles' variables, and warnings of those that do nothing."""
        options = self.options()["options"]
        refusals = Refusals()
        if options is not None:
            values = self._values(options, task_vars, refusals)
            inventory.check_values(values, options, refusals)
            refusals.stop()
            return private({"options": inventory.complete(values, options)})
        values = self._values(inventory.role_options(), task_vars, refusals)
        warnings = inventory.check(task_vars, values, refusals)
        groups, every = task_vars.get("groups", {}), task_vars.get("hostvars", {})
        gateways = gate.gateways(_addresses(groups.get(gate.GROUP, ()), every, gate.ADDRESSES), refusals)
        watching = monitoring.present(groups.get(monitoring.GROUP, ()), every)
        watchers = monitoring.hosts(_addresses(watching, every, monitoring.ADDRESSES), refusals)
        refusals.stop()
        policy = derived.policy(values, gateways, watchers)
        # The planner reads them too, but a driver may have been changed by then.
        instances, models = (inventory.value(values, name) for name in (read.INSTANCES, read.MODELS))
        asked = read.read(instances, models, plan_policy.complete(policy))
        golden.fill(asked.models, partial(self.beside_inventory, task_vars))
        found: dict[str, Any] = {
            "policy": policy,
            "rollouts": [model.name for model in asked.models.values() if model.rollout is not None],
            "servers": derived.servers(values),
            "bundle": derived.bundle(
                values, self._templar.template(task_vars.get("bundle_packages", [])), gateways, watchers
            ),
        }
        if inventory.value(values, BUNDLE):
            found |= self.join(BUNDLED, task_vars)
        # Headers and addresses may hold secrets. Warnings are shown all the same.
        return private({**found, "warnings": warnings} if warnings else found)

    def _values(self, options: inventory.Options, task_vars: dict[str, Any], refusals: Refusals) -> dict[str, Any]:
        """Return the options that are set, with their templates worked out."""
        values: dict[str, Any] = {name: None for name, option in options.items() if option.get("required")}
        for name in task_vars:
            if name in options:
                try:
                    values[name] = self._templar.template(task_vars[name])
                except AnsibleError as error:
                    refusals.add(WishError(name, f"cannot be worked out ({error})", "correct its template"))
        return values


def _addresses(
    hosts: Iterable[str], every: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return what the variables of each host say of its address."""
    return {host: {name: every[host].get(name) for name in names} for host in hosts}
