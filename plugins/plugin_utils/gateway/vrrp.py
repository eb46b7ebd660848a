# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Addresses that move between gateways: one VRRP instance for each, told apart by their router ids."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

PATH = "gateway_vips"
# keepalived's own highest and the usual value; a gateway's place among the others decides between them.
_OWNER, _OTHER = 150, 100
_FIRST_ID, _LAST_ID = 51, 255
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")


def instances(vips: Sequence[Mapping[str, Any]], gateway: str, gateways: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return this gateway's part in each address: ``{address, interface, router_id, priority, source, peers}``.

    Its owner has the highest priority. All begin as backup, since who has an address keeps it (``nopreempt``).

    :param vips: ``{address, interface, owner, router_id}``; the last two may be missing.
    :param gateways: the address of each gateway, by name, in the order of the inventory.
    :raises WishError: an entry cannot be used, or gateways cannot reach each other.
    """
    if not vips:
        return []
    if not isinstance(vips, (list, tuple)) or not all(isinstance(vip, Mapping) for vip in vips):
        raise WishError(PATH, "is no list of mappings", "give each address as {address: ..., interface: ...}")
    others = {name: _address(name, address) for name, address in gateways.items()}
    found = [_instance(number, vip, gateway, others) for number, vip in enumerate(vips)]
    for key in ("address", "router_id"):
        values = [each[key] for each in found]
        for number, value in enumerate(values):
            if value in values[:number]:
                raise WishError(f"{PATH}[{number}].{key}", f"is {value} like that of another entry", "give it its own")
    return found


def _instance(number: int, vip: Mapping[str, Any], gateway: str, gateways: Mapping[str, str]) -> dict[str, Any]:
    path = f"{PATH}[{number}]"
    names = list(gateways)
    owner = vip.get("owner") or names[number % len(names)]
    if owner not in names:
        raise WishError(f"{path}.owner", f"is {described(owner)}", f"name a gateway: {', '.join(names)}")
    router = _number(vip.get("router_id") or _FIRST_ID + number)
    if not isinstance(router, int) or not 1 <= router <= _LAST_ID:
        raise WishError(f"{path}.router_id", f"is {described(router)}", f"give a number from 1 to {_LAST_ID}")
    interface = vip.get("interface") or ""
    if not isinstance(interface, str) or not _INTERFACE.fullmatch(interface):
        raise WishError(f"{path}.interface", f"is {described(interface)}", "name a network interface, such as eth0")
    rank = (names.index(gateway) - names.index(owner)) % len(names)
    return {
        "address": _with_prefix(f"{path}.address", vip.get("address"), gateways[gateway]),
        "interface": interface,
        "router_id": router,
        "priority": _OWNER if rank == 0 else max(1, _OTHER - rank),
        "source": gateways[gateway],
        "peers": [address for name, address in gateways.items() if name != gateway],
    }


def _number(value: Any) -> Any:
    """Return a whole number for the text of one, as a template may give it."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _with_prefix(path: str, value: Any, own: str) -> str:
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        found = None
    if found is None or "/" not in str(value):
        raise WishError(path, f"is {described(value)}", "give an address and its network's size, such as 10.0.0.9/24")
    if found.version != ipaddress.ip_address(own).version:
        remedy = f"give an address of IPv{ipaddress.ip_address(own).version}, which keepalived cannot mix"
        raise WishError(path, f"is {found}, and this gateway is known as {own}", remedy)
    return str(found)


def _address(name: str, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise WishError(
            PATH,
            f"needs the IP address of {name}, which is given as {described(value)}",
            "set tfserving_address there, since VRRP takes no names",
        ) from None
