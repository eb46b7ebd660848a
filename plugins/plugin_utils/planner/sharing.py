# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How instances on ``auto`` divide cores: each node by weight among those that live there.

Two things widen or narrow that. Nodes without any instance go to the instances with GPUs on the same socket: where a
socket is cut into several nodes, its GPUs are often attached to one of them. And where cores are of two kinds, an
instance gets one kind, the performance cores by turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .machine import Core
from .places import Place, Rooms

# What an efficiency core does of a performance core's work: about the middle of what topology/read.py has seen.
EFFICIENCY_STRENGTH = 0.75


@dataclass
class _Claim:
    """The wish of one instance on auto for a part of one node."""

    place: Place
    node: int
    weight: float


def divide(shared: list[Place], free: Rooms, sockets: Mapping[int, Any]) -> None:
    """Divide what is free among the instances on auto."""
    claims: dict[int, list[_Claim]] = {node: [] for node in free}
    for each in shared:
        gpus = sum(each.homes.values())
        for node, near in each.homes.items():
            if node in claims:
                claims[node].append(_Claim(each, node, each.weight * near / gpus))
    anywhere = [each for each in shared if not any(node in claims for node in each.homes)]
    hybrid = is_hybrid(free)
    for each in sorted(anywhere, key=lambda each: (hybrid and each.turn, -each.weight)):
        node = _roomiest(each, free, claims, fast_only=hybrid and each.turn == 0)
        claims[node].append(_Claim(each, node, each.weight))
    _relieve(claims, free)
    for nodes in _domains(claims, free, sockets):
        units = [unit for node in nodes for unit in free[node]]
        mine = [claim for node in nodes for claim in claims[node]]
        for group, part in _by_kind(mine, units) if hybrid else [(mine, units)]:
            _deal(group, part, free)


def _roomiest(each: Place, free: Rooms, claims: Mapping[int, list[_Claim]], fast_only: bool) -> int:
    def room(node: int) -> float:
        units = kinds(free[node])[0] if fast_only else free[node]
        return _room(units, claims[node], each.weight)

    return max(free, key=lambda node: (node in each.near and bool(free[node]), room(node), -node))


def _room(units: list[Core], claims: list[_Claim], weight: float) -> float:
    """Return the cores that a newcomer would get beside those who are there; below zero on a full node."""
    if len(units) <= len(claims):
        return len(units) - len(claims) - 1
    return len(units) * weight / (weight + sum(claim.weight for claim in claims))


def _relieve(claims: dict[int, list[_Claim]], free: Rooms) -> None:
    """Move claims away from nodes that have fewer cores than claims, until every claim can have a core."""
    while True:
        room = {node: len(free[node]) - len(claims[node]) for node in free}
        crowded = next((node for node in room if room[node] < 0), None)
        if crowded is None:
            return
        # Release the instance with a share elsewhere, then one not tied to this node, then the last.
        leaving = max(
            reversed(claims[crowded]),
            key=lambda claim: (_elsewhere(claims, claim, crowded), not claim.place.homes),
        )
        claims[crowded].remove(leaving)
        if not _elsewhere(claims, leaving, crowded):
            # Where no node has room, one where an instance with a share elsewhere can give way in the next round.
            target = max(
                (node for node in free if node != crowded),
                key=lambda node: (
                    room[node] > 0,
                    any(_elsewhere(claims, claim, node) for claim in claims[node]),
                    node in leaving.place.near,
                    room[node],
                    -node,
                ),
            )
            claims[target].append(_Claim(leaving.place, target, leaving.place.weight))


def _elsewhere(claims: Mapping[int, list[_Claim]], wanted: _Claim, here: int) -> bool:
    return any(claim.place is wanted.place for node, others in claims.items() if node != here for claim in others)


def _domains(claims: Mapping[int, list[_Claim]], free: Rooms, sockets: Mapping[int, Any]) -> Iterator[list[int]]:
    """Yield the nodes that are divided together: mostly each by itself."""
    idle = {node for node, units in free.items() if units and not claims[node]}
    thirsty = {node for node, here in claims.items() if here and all(node in claim.place.near for claim in here)}
    for node, here in claims.items():
        neighbours = {other for other in idle | thirsty if sockets[other] == sockets[node]}
        if node in thirsty and neighbours & idle:
            if node == min(neighbours & thirsty):
                yield sorted(neighbours)
        elif here:
            yield [node]


def _by_kind(claims: list[_Claim], units: list[Core]) -> list[tuple[list[_Claim], list[Core]]]:
    """Return who divides which units: performance cores go by turn, and no instance gets both kinds."""
    fast, slow = kinds(units)
    if not fast or not slow:
        return [(claims, units)]
    turns = sorted(claims, key=lambda claim: claim.place.turn)
    if len(turns) == 1:
        return [(turns, _alone(turns[0], fast, slow))]
    # Both kinds are used, and the instance with the least for its weight gets as much as possible.
    cuts = range(max(1, len(turns) - len(slow)), min(len(fast), len(turns) - 1) + 1)

    def poorest(cut: int) -> float:
        shares = (len(fast), turns[:cut]), (len(slow) * EFFICIENCY_STRENGTH, turns[cut:])
        return min(strength / sum(claim.weight for claim in group) for strength, group in shares)

    cut = max(cuts, key=lambda cut: (poorest(cut), -cut))
    return [(turns[:cut], fast), (turns[cut:], slow)]


def _alone(claim: _Claim, fast: list[Core], slow: list[Core]) -> list[Core]:
    """Return the kind for an instance that has both to itself: many requests side by side want the most of them."""
    many = claim.place.wish.profile == "throughput"
    return slow if many and len(slow) * EFFICIENCY_STRENGTH > len(fast) else fast


def _deal(claims: list[_Claim], units: list[Core], free: Rooms) -> None:
    """Hand out the units by weight, to each claim those of its own node first."""
    sizes = divided(len(units), [claim.weight for claim in claims], least=1)
    rooms: Rooms = {}
    for unit in units:
        rooms.setdefault(unit.node, []).append(unit)
    for position, claim in enumerate(claims):
        sizes[position] -= _hand(claim, rooms, claim.node, sizes[position], free)
    for claim, left in zip(claims, sizes):
        while left:
            # All of it on one node, if there is one with as much left; else from the nearest that has any.
            node = max(
                (node for node, units in rooms.items() if units),
                key=lambda node: (len(rooms[node]) >= left, -abs(node - claim.node), len(rooms[node])),
            )
            left -= _hand(claim, rooms, node, left, free)


def _hand(claim: _Claim, rooms: Rooms, node: int, number: int, free: Rooms) -> int:
    """Hand over the first units that a node has left, and return how many that were."""
    units = rooms.get(node, [])
    taken, rooms[node] = units[:number], units[number:]
    move(claim.place, free, node, taken)
    return len(taken)


def move(place: Place, free: Rooms, node: int, units: list[Core]) -> None:
    """Take units out of what is free on a node, for an instance."""
    place.cores += units
    there = free.get(node, [])
    if there[: len(units)] == units:
        del there[: len(units)]
    else:
        free[node] = [unit for unit in there if unit not in units]


def is_hybrid(free: Rooms) -> bool:
    """Tell whether there are cores of two kinds."""
    return len({core.efficiency for units in free.values() for core in units}) > 1


def kinds(units: list[Core]) -> tuple[list[Core], list[Core]]:
    """Return the performance cores among units, and the efficiency cores."""
    return [unit for unit in units if not unit.efficiency], [unit for unit in units if unit.efficiency]


def divided(total: int, weights: list[float], least: int = 0) -> list[int]:
    """Divide ``total`` by weight into whole numbers of at least ``least`` that add up to it (largest remainder)."""
    if not weights:
        return []
    whole = sum(weights)
    ideal = [total * weight / whole for weight in weights]
    sizes = [max(least, int(share)) for share in ideal]
    everyone = range(len(sizes))
    while sum(sizes) < total:
        neediest = max(everyone, key=lambda one: (ideal[one] - sizes[one], -one))
        sizes[neediest] += 1
    while sum(sizes) > total:
        richest = max(everyone, key=lambda one: (sizes[one] > least, sizes[one] - ideal[one], one))
        sizes[richest] -= 1
    return sizes
