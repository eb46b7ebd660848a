# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate of the instances: who sends them traffic, and how long a call may take."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import checks as fields

# The hosts that send the traffic, as a group of the inventory.
GROUP = "tfserving_gateways"
# The variables that may name the address from which a gateway connects, the first that is set counts.
ADDRESSES = ("gateway_source_address", "tfserving_address", "ansible_host")

TIMEOUT, LONGEST = "tfserving_drain_timeout_s", "tfserving_longest_call_s"
# Beyond the longest call, leaving takes two polls of every gateway, half a second of quiet and a second look.
MARGIN_S = 5

FIELDS: dict[str, fields.Check] = {"name": fields.text, "address": fields.text}


def gateways(found: Mapping[str, Mapping[str, Any]], refusals: Refusals) -> list[dict[str, str]]:
    """Return the ``name`` and the ``address`` of each gateway, by name, and add what is wrong to ``refusals``.

    :param found: the values of ``ADDRESSES`` of each host of the group.
    """
    checked = [refusals.check(_gateway, name, found[name], default=None) for name in sorted(found)]
    return [each for each in checked if each]


def _gateway(name: str, variables: Mapping[str, Any]) -> dict[str, str]:
    given = next((variables[each] for each in ADDRESSES if variables.get(each)), name)
    try:
        return {"name": name, "address": str(ipaddress.ip_address(given))}
    except ValueError:
        problem = f"is {described(given)} for the gateway {name}, which is no IP address, and filters know no names"
        remedy = "set it, for that host, to the address from which it connects to the servers"
        raise WishError(ADDRESSES[0], problem, remedy) from None


def wanted(when: str, gateways: Sequence[Any]) -> bool:
    """Return whether instances have a gate.

    :param when: ``tfserving_gate``.
    """
    return when == "always" or (when == "auto" and bool(gateways))


def check(timeout: Any, longest: Any) -> None:
    """Refuse a limit for leaving that the longest call would always exceed."""
    if int(timeout) < int(longest) + MARGIN_S:
        problem = f"is {timeout}, but a call may take {longest} s ({LONGEST}), and leaving {MARGIN_S} s more"
        raise WishError(TIMEOUT, problem, f"set it to {int(longest) + MARGIN_S} or more")


def listed(path: str, value: Any) -> list[dict[str, Any]]:
    """Check the gateways in a policy."""
    if not isinstance(value, (list, tuple)):
        raise WishError(path, f"is {described(value)}", "give a list of {name, address}")
    return [fields.fields(f"{path}[{at}]", each, "a gateway", FIELDS) for at, each in enumerate(value)]
