# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the other servers can carry the load while some leave."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

from ..phrases import counted, joined

# The rows of ``show stat`` that are no servers.
_SUMS = ("FRONTEND", "BACKEND")
PREFIXES = ("rest_", "grpc_")

# What one gateway shows: a row for each server, by the names of HAProxy's columns.
Rows = Sequence[Mapping[str, Any]]


class Limits(TypedDict):
    """What must be left: servers of each backend, and the share of their places that the load may take."""

    least_servers: int
    most_load: float


LIMITS: Limits = {"least_servers": 1, "most_load": 0.8}


def may_leave(gateways: Mapping[str, Rows], leaving: Collection[str], limits: Limits = LIMITS) -> list[str]:
    """Return why servers may not leave now, one sentence for each reason; an empty list if they may.

    Load is what the servers of a backend hold and what waits for them, as each gateway counts it for itself: every
    gateway has its own part of a server's places. A server that takes no calls already is no loss.

    :param gateways: the rows of ``show stat`` by gateway (pxname, svname, status, scur, qcur, slim).
    :param leaving: names of servers, the same in all backends.
    """
    refusals = []
    for gateway, rows in gateways.items():
        for backend, members in _servers(rows).items():
            refusals += _backend(f"{backend} on {gateway}", members, set(leaving), _waiting(rows, backend), limits)
    return list(dict.fromkeys(refusals))


def _servers(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["svname"] not in _SUMS and str(row["pxname"]).startswith(PREFIXES):
            found.setdefault(row["pxname"], []).append(row)
    return found


def _waiting(rows: Rows, backend: str) -> int:
    """Return the calls that wait for any server of a backend."""
    return sum(_count(row, "qcur") for row in rows if row["pxname"] == backend and row["svname"] == "BACKEND")


def _backend(where: str, members: Rows, leaving: Collection[str], waiting: int, limits: Limits) -> list[str]:
    up = [row for row in members if _takes_calls(row)]
    going = [row for row in up if row["svname"] in leaving]
    left = [row for row in up if row["svname"] not in leaving]
    if not going:
        return []
    names = joined(sorted(row["svname"] for row in going))
    if len(left) < limits["least_servers"]:
        there = counted(len(left), "server")
        return [f"{where}: {there} would be left without {names}, and at least {limits['least_servers']} must be"]
    load = waiting + sum(_count(row, "scur") + _count(row, "qcur") for row in up)
    places = [_count(row, "slim") for row in left]
    # A server without a limit takes any number of calls.
    if all(places) and load > sum(places) * limits["most_load"]:
        room = f"{counted(sum(places), 'place')} of {counted(len(left), 'server')}"
        most = f"at most {limits['most_load']:.0%} of them may be taken"
        return [f"{where}: {counted(load, 'call')} would meet {room} without {names}, and {most}"]
    return []


def _takes_calls(row: Mapping[str, Any]) -> bool:
    """Return whether a server takes new calls: ``UP``, ``UP 1/2`` and ``no check`` do."""
    return str(row["status"]).startswith(("UP", "no check"))


def _count(row: Mapping[str, Any], column: str) -> int:
    text = str(row.get(column) or "0")
    return int(text) if text.isdecimal() and text.isascii() else 0
