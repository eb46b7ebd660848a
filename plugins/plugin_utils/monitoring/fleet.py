# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole fleet as a monitoring host sees it, out of the variables of all hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ..wishes import checks
from . import hosts
from .plan import Fleet, check_name, check_passwords
from .targets import endpoint

STATUS_ADDRESS, STATUS_PORT = "gateway_status_address", "gateway_status_port"


def read(
    groups: Mapping[str, Sequence[str]],
    variables: Mapping[str, Mapping[str, Any]],
    records: Mapping[str, Any],
    known: Mapping[str, Any],
) -> tuple[Fleet, list[str]]:
    """Return the fleet, and sentences about hosts that could not be asked, or raise WishError.

    :param groups: the hosts of the inventory by what they are to the fleet.
    :param variables: those of each host.
    :param records: the plans that were read from hosts which this run has not planned.
    :param known: what this monitoring host recorded of hosts.
    """
    every = sorted({name for names in groups.values() for name in names})
    for name in every:
        check_name(name)
    exporters = {name: hosts.exporters(name, variables[name]) for name in every}
    check_passwords({name: hosts.value(variables[name], "monitoring_password") for name in every})
    planned = {
        name: variables[name]["tfserving_plan"] for name in groups["serving"] if "tfserving_plan" in variables[name]
    }
    places = {name: each["address"] for name, each in exporters.items()}
    serving, warnings = hosts.gathered(groups["serving"], {**records, **planned}, known, places)
    found = Fleet(
        serving=serving,
        exporters=exporters,
        roles=groups,
        gateways={name: _status(name, variables[name]) for name in groups["gateway"]},
        watchers={name: hosts.watcher(name, variables[name]) for name in groups["monitoring"]},
    )
    return found, warnings


def _status(name: str, variables: Mapping[str, Any]) -> str:
    """Return where the metrics of a gateway are: at the address that it was given, or, for loopback, at its own."""
    given = str(hosts.value(variables, STATUS_ADDRESS) or "")
    try:
        is_own = not given or ipaddress.ip_address(given).is_loopback or ipaddress.ip_address(given).is_unspecified
    except ValueError:
        is_own = True
    port = checks.PORT_FIELDS["rest"](STATUS_PORT, hosts.value(variables, STATUS_PORT))
    return endpoint(hosts.place(name, variables) if is_own else given, port)


def room(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a host has for Prometheus, from what monitoring_state says of it."""
    package = state.get("packages", {}).get("prometheus", {})
    return {
        "version": package.get("installed") or package.get("candidate") or "",
        "disk_mb": int(state.get("disk_mb") or 0),
        "memory_mb": int(state.get("memory_mb") or 0),
    }
