# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Addresses that may talk to the servers: systemd's words for them, checked and converted to networks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind, nearest, quoted

VARIABLE = "tfserving_allow_from"
REST = "tfserving_rest_allow_from"
OUTGOING = "tfserving_allow_to"
RULES = "tfserving_address_rules"

# The words of IPAddressAllow= in systemd.resource-control(5).
WORDS = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}


def check(addresses: Any, rest: Any = (), rules: str = "nftables", outgoing: Any = ()) -> None:
    """Raise WishError if the addresses for all ports, for the REST ports (``rest``) or for outgoing calls
    (``outgoing``) cannot be enforced."""
    networks(addresses)
    networks(rest, REST)
    networks(outgoing, OUTGOING)
    if rest and rules != "nftables":
        raise WishError(
            REST, f"is set and {RULES} is {rules}, which filters by unit and knows no ports", "use nftables"
        )


def networks(addresses: Any, variable: str = VARIABLE) -> dict[str, list[str]]:
    """Return the networks of each family (``ipv4``, ``ipv6``), without those inside another, or raise WishError.

    systemd drops an address that it cannot read, with only a line in its journal, and then lets nobody in, or too much
    out.
    """
    if not isinstance(addresses, (list, tuple)):
        raise WishError(variable, f"is {kind(addresses)}", "give a list of addresses, networks or words")
    found = [network for place, text in enumerate(addresses) for network in _read(f"{variable}[{place}]", text)]
    return {f"ipv{version}": _collapsed(found, version) for version in (4, 6)}


# Python accepts what systemd and nft do not: zones, netmasks instead of lengths, leading zeros.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_WRITTEN = re.compile(r"[0-9A-Fa-f:.]+(/(0|[1-9][0-9]{0,2}))?")


def _read(path: str, text: Any) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    if not isinstance(text, str):
        raise WishError(path, f"is {kind(text)}", "write the address in quotes")
    if text in WORDS:
        return [ipaddress.ip_network(network) for network in WORDS[text]]
    if "%" in text:
        raise WishError(path, "names a zone, and systemd silently drops such an address", "leave out the %")
    try:
        if not _WRITTEN.fullmatch(text):
            raise ValueError("neither")
        network = ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        remedy = nearest(text, WORDS) or f"write it as 10.20.0.0/16, or use one of {', '.join(sorted(WORDS))}"
        raise WishError(path, f"{quoted(text)} is neither an address nor a network", remedy) from None
    address = ipaddress.ip_interface(str(text)).ip
    if network.version == 6 and network.subnet_of(_MAPPED):
        raise WishError(path, "is an IPv4-mapped IPv6 address, which no packet carries", "write its IPv4 form")
    if address != network.network_address:
        problem = f"is an address within {network}, and stands for all of it"
        raise WishError(path, problem, f"write {network} for the network, or {address} for the one address")
    return [network]


def _collapsed(found: Iterable[Any], version: int) -> list[str]:
    return [str(each) for each in ipaddress.collapse_addresses(each for each in found if each.version == version)]
