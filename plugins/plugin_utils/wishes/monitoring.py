# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who reads the figures of a host: the monitoring hosts of the inventory, and addresses that it names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import addresses
from . import checks as fields

# The hosts that watch the fleet, as a group of the inventory.
GROUP = "tfserving_monitoring"
# The variables that may name the address from which one connects, the first that is set counts.
ADDRESSES = ("tfserving_address", "ansible_host")

ALLOW_FROM = "monitoring_allow_from"
WEB_ALLOW_FROM = "monitoring_web_allow_from"
NODE_PORT = "monitoring_node_port"

FIELDS: dict[str, fields.Check] = {"name": fields.text, "address": fields.text}


def hosts(found: Mapping[str, Mapping[str, Any]], refusals: Refusals) -> list[dict[str, str]]:
    """Return the ``name`` and the ``address`` of each monitoring host, and add what is wrong to ``refusals``.

    :param found: the values of ``ADDRESSES`` of each host of the group.
    """
    checked = [refusals.check(_host, name, found[name], default=None) for name in sorted(found)]
    return [each for each in checked if each]


def _host(name: str, variables: Mapping[str, Any]) -> dict[str, str]:
    given = next((variables[each] for each in ADDRESSES if variables.get(each)), name)
    try:
        return {"name": name, "address": str(ipaddress.ip_address(given))}
    except ValueError:
        problem = f"is {described(given)} for the monitoring host {name}, which is no IP address"
        remedy = "set it, for that host, to the address from which it reads the others; filters know no names"
        raise WishError(ADDRESSES[0], problem, remedy) from None


def wanted(watchers: Sequence[Any], networks: Sequence[str]) -> bool:
    """Return whether anybody reads the figures of a host."""
    return bool(watchers or networks)


def check(allow_from: Any, web_allow_from: Any) -> None:
    """Raise WishError if the addresses that may read exporters or open pages cannot be enforced."""
    addresses.networks(allow_from, ALLOW_FROM)
    addresses.networks(web_allow_from, WEB_ALLOW_FROM)


def listed(path: str, value: Any) -> list[dict[str, Any]]:
    """Check the monitoring hosts in a policy."""
    if not isinstance(value, (list, tuple)):
        raise WishError(path, f"is {described(value)}", "give a list of {name, address}")
    return [fields.fields(f"{path}[{at}]", each, "a monitoring host", FIELDS) for at, each in enumerate(value)]


def networks(path: str, value: Any) -> list[str]:
    """Check the addresses in a policy, and return them as they are written."""
    addresses.networks(value, path)
    return [str(each) for each in value]
