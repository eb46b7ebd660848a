# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who reads the figures of a host: the monitoring hosts of the inventory, and addresses that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import addresses
from .senders import Senders

# The hosts that watch the fleet, as a group of the inventory.
GROUP = "tfserving_monitoring"
# The variables that may name the address from which one connects, the first that is set counts.
ADDRESSES = ("tfserving_address", "ansible_host")

STATE = "monitoring_state"
ALLOW_FROM = "monitoring_allow_from"
WEB_ALLOW_FROM = "monitoring_web_allow_from"
NODE_PORT = "monitoring_node_port"

_SENDERS = Senders(
    "a monitoring host",
    ADDRESSES,
    "which is no IP address",
    "set it, for that host, to the address from which it reads the others; filters know no names",
)
hosts = _SENDERS.checked
listed = _SENDERS.listed


def present(names: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the hosts of the group that are to watch: nobody stays open for one whose monitoring is removed."""
    return [name for name in names if variables[name].get(STATE) != "absent"]


def wanted(watchers: Sequence[Any], networks: Sequence[str]) -> bool:
    """Return whether anybody reads the figures of a host."""
    return bool(watchers or networks)


def check(allow_from: Any, web_allow_from: Any) -> None:
    """Raise WishError if the addresses that may read exporters or open pages cannot be enforced."""
    addresses.networks(allow_from, ALLOW_FROM)
    addresses.networks(web_allow_from, WEB_ALLOW_FROM)


def networks(path: str, value: Any) -> list[str]:
    """Check the addresses in a policy, and return them as they are written."""
    addresses.networks(value, path)
    return [str(each) for each in value]
