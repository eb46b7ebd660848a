# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Network interfaces with hardware below them, and which of them calls come and go by."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ..host.sysfs import Tree
from ..visible_text import told
from . import sockets

NET = "sys/class/net"
MOST_DEVICES, MOST_ROUTES, MOST_CALLERS = 128, 4096, 256
# A VLAN on a bond on two cards is three deep.
DEEPEST = 4
_TEXT = 100


class _Route(NamedTuple):
    interface: str
    destination: int
    mask: int
    metric: int


def read(tree: Tree, ports: Collection[int]) -> dict[str, dict[str, Any]]:
    """Return the interfaces by name; calls are those to ``ports``."""
    carriers = _carriers(tree, ports)
    names = [name for name in tree.names(NET)[:MOST_DEVICES] if _is_hardware(tree, name)]
    return {told(name, 40): _link(tree, name, name in carriers) for name in names}


def _is_hardware(tree: Tree, name: str) -> bool:
    return tree.exists(f"{NET}/{name}/device")


def _link(tree: Tree, name: str, carries: bool) -> dict[str, Any]:
    speed = tree.number(f"{NET}/{name}/speed")
    duplex = tree.text(f"{NET}/{name}/duplex")
    ids = [tree.text(f"{NET}/{name}/device/{part}") or "" for part in ("vendor", "device")]
    return {
        "speed_mbit": speed if speed is not None and speed > 0 else None,
        "duplex": told(duplex, _TEXT) if duplex else None,
        "mtu": tree.number(f"{NET}/{name}/mtu"),
        "up": tree.text(f"{NET}/{name}/operstate") == "up",
        "carries": carries,
        "device": told(":".join(ids), 40) if all(ids) else None,
        **{key: tree.number(f"{NET}/{name}/statistics/{key}") for key in ("rx_errors", "rx_dropped", "tx_errors")},
    }


def _carriers(tree: Tree, ports: Collection[int]) -> set[str]:
    """Return the interfaces that callers are answered by, or those of the default routes where there are none."""
    routes = _routes(tree)
    ways = {way for caller in sockets.callers(tree, ports, MOST_CALLERS) if (way := _way(routes, caller))}
    ways = ways or {way for way in (_way(routes, 0), _default_of_ipv6(tree)) if way}
    return set().union(*(_below(tree, way, DEEPEST) for way in ways))


def _routes(tree: Tree) -> list[_Route]:
    rows = (line.split() for line in tree.lines("proc/net/route")[1:MOST_ROUTES])
    return [_Route(row[0], _address(row[1]), _address(row[7]), int(row[6])) for row in rows if len(row) > 7]


def _address(told_: str) -> int:
    """Return an address that the kernel shows in the order of its bytes in memory."""
    return socket.ntohl(int(told_, 16))


def _way(routes: Iterable[_Route], address: int) -> str | None:
    fitting = [route for route in routes if address & route.mask == route.destination]
    best = max(fitting, key=lambda route: (route.mask, -route.metric), default=None)
    return best and best.interface


def _default_of_ipv6(tree: Tree) -> str | None:
    rows = (line.split() for line in tree.lines("proc/net/ipv6_route")[:MOST_ROUTES])
    # The kernel keeps routes that refuse on lo.
    return next((row[9] for row in rows if len(row) > 9 and row[1] == "00" and row[9] != "lo"), None)


def _below(tree: Tree, name: str, depth: int) -> set[str]:
    """Return the hardware below an interface: the cards of a bond, a bridge or a VLAN."""
    if _is_hardware(tree, name) or not depth:
        return {name}
    lower = [each.partition("_")[2] for each in tree.names(f"{NET}/{name}") if each.startswith("lower_")]
    return set().union(*(_below(tree, each, depth - 1) for each in lower))
