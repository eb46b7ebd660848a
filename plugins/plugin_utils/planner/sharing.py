# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Division of cores among instances on ``auto``: each node's by weight among the instances placed there.

There are two exceptions. Nodes without an instance go to the instances with GPUs on the same socket: on a socket cut
into several nodes, the GPUs are often all attached to one of them. And on hybrid hosts an instance gets one kind of
core, with performance cores handed out by turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .machine import Core
from .places import Place, Rooms

# An efficiency core's throughput relative to a performance core's: about the middle of what topology/read.py has seen.
EFFICIENCY_STRENGTH = 0.75


@dataclass
class _Claim:
    """The claim of one instance on auto to a part of one node."""

    place: Place
    node: int
    weight: float


def divide(shared: list[Place], free: Rooms, sockets: Mapping[int, Any]) -> None:
    """Divide the free cores among the instances on auto."""
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
    """Return how many cores a newcomer would get beside the claims already there; negative on a full node."""
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
        # Release an instance with a share elsewhere, else one not tied to this node, else the last.
        leaving = max(
            reversed(claims[crowded]),
            key=lambda claim: (_elsewhere(claims, claim, crowded), not claim.place.homes),
        )
        claims[crowded].remove(leaving)
        if not _elsewhere(claims, leaving, crowded):
            # If no node has room, pick one where an instance with a share elsewhere can give way in the next round.
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
    """Yield the groups of nodes to divide together; most are a single node."""
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
    """Return groups of claims with the units each divides: performance cores by turn, one kind for each instance."""
    fast, slow = kinds(units)
    if not fast or not slow:
        return [(claims, units)]
    # An instance may have a claim for each of its GPUs' nodes, and all of them get one kind.
    first = {id(claim.place): number for number, claim in reversed([*enumerate(claims)])}
    turns = sorted(claims, key=lambda claim: (claim.place.turn, first[id(claim.place)]))
    if len(first) == 1:
        return [(turns, _alone(turns[0], fast, slow))]
    # Use both kinds, and maximize the share of the instance that gets least for its weight.
    possible = range(max(1, len(turns) - len(slow)), min(len(fast), len(turns) - 1) + 1)
    cuts = [cut for cut in possible if turns[cut - 1].place is not turns[cut].place] or possible

    def poorest(cut: int) -> float:
        shares = (len(fast), turns[:cut]), (len(slow) * EFFICIENCY_STRENGTH, turns[cut:])
        return min(strength / sum(claim.weight for claim in group) for strength, group in shares)

    cut = max(cuts, key=lambda cut: (poorest(cut), -cut))
    return [(turns[:cut], fast), (turns[cut:], slow)]


def _alone(claim: _Claim, fast: list[Core], slow: list[Core]) -> list[Core]:
    """Return the kind of core for an instance alone on a node; many parallel requests favour total throughput."""
    many = claim.place.wish.profile == "throughput"
    return slow if many and len(slow) * EFFICIENCY_STRENGTH > len(fast) else fast


def _deal(claims: list[_Claim], units: list[Core], free: Rooms) -> None:
    """Hand out the units by weight, each claim getting those of its own node first."""
    sizes = divided(len(units), [claim.weight for claim in claims], least=1)
    rooms: Rooms = {}
    for unit in units:
        rooms.setdefault(unit.node, []).append(unit)
    for position, claim in enumerate(claims):
        sizes[position] -= _hand(claim, rooms, claim.node, sizes[position], free)
    for claim, left in zip(claims, sizes):
        while left:
            # Prefer a node that has all of it left, else the nearest that has any.
            node = max(
                (node for node, units in rooms.items() if units),
                key=lambda node: (len(rooms[node]) >= left, -abs(node - claim.node), len(rooms[node])),
            )
            left -= _hand(claim, rooms, node, left, free)


def _hand(claim: _Claim, rooms: Rooms, node: int, number: int, free: Rooms) -> int:
    """Hand over the first units left on a node, and return how many there were."""
    units = rooms.get(node, [])
    taken, rooms[node] = units[:number], units[number:]
    move(claim.place, free, node, taken)
    return len(taken)


def move(place: Place, free: Rooms, node: int, units: list[Core]) -> None:
    """Move free units of a node to an instance."""
    place.cores += units
    there = free.get(node, [])
    if there[: len(units)] == units:
        del there[: len(units)]
    else:
        free[node] = [unit for unit in there if unit not in units]


def is_hybrid(free: Rooms) -> bool:
    """Return whether there are cores of two kinds."""
    return len({core.efficiency for units in free.values() for core in units}) > 1


def kinds(units: list[Core]) -> tuple[list[Core], list[Core]]:
    """Return the performance cores and the efficiency cores among units."""
    return [unit for unit in units if not unit.efficiency], [unit for unit in units if unit.efficiency]


def divided(total: int, weights: list[float], least: int = 0) -> list[int]:
    """Divide ``total`` by weight into integers of at least ``least`` that add up to it (largest remainder)."""
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
