# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Placement of instances on cores.

Counts are granted first, then the instances on ``auto`` divide the rest of their node by weight (sharing.py). Instances
with GPUs go to the nodes of their GPUs, others to where most cores are free. A core belongs to one instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from ..wishes.read import INSTANCES, InstanceWish
from . import cpu_mask, sharing
from .machine import Core
from .places import Place, Rooms
from .reasons import Sheet


def place(
    wishes: list[InstanceWish],
    homes: list[dict[int, int]],
    serving: Mapping[int, list[Core]],
    sockets: Mapping[int, Any],
) -> list[Place]:
    """Return the place of each wish, in the order of the wishes.

    ``homes`` names the nodes of each wish's GPUs, ``sockets`` the socket of each node. Raise WishError if there are too
    few cores.
    """
    places = [Place(wish, home, _near(home, sockets)) for wish, home in zip(wishes, homes)]
    free = _units(places, serving)
    _refuse_too_many(places, free)
    fixed = [each for each in places if each.wish.cpus]
    shared = [each for each in places if not each.wish.cpus]
    hybrid = bool(fixed) and sharing.is_hybrid(free)
    # Instances with GPUs cannot move, and large ones fit in fewer places than small ones.
    for each in sorted(fixed, key=lambda each: (hybrid and each.turn, not each.homes, -(each.wish.cpus or 0))):
        _grant(each, free, shared, sockets)
    if shared:
        sharing.divide(shared, free, sockets)
    for each in places:
        each.cores.sort()
        each.mask = cpu_mask.union(core.mask for core in each.cores)
        each.nodes = cpu_mask.of(core.node for core in each.cores)
    return places


def _near(homes: Mapping[int, int], sockets: Mapping[int, Any]) -> set[int]:
    mine = {sockets.get(node, node) for node in homes}
    return {*homes, *(node for node, socket in sockets.items() if socket in mine)} if homes else set()


def _units(places: list[Place], serving: Mapping[int, list[Core]]) -> Rooms:
    """Return the units to hand out: cores, or single threads if there are fewer cores than instances."""
    cores = sum(map(len, serving.values()))
    if len(places) <= cores or any(place.wish.cpus for place in places):
        return {node: list(inside) for node, inside in serving.items()}
    for place in places:
        place.split = True
    return {
        node: [core._replace(first=cpu, mask=1 << cpu) for core in inside for cpu in cpu_mask.numbers(core.mask)]
        for node, inside in serving.items()
    }


def _refuse_too_many(places: list[Place], free: Rooms) -> None:
    total = left = sum(map(len, free.values()))
    waiting = sum(not place.wish.cpus for place in places)
    if len(places) > total:
        threads = sum(cpu_mask.count(core.mask) for cores in free.values() for core in cores)
        if any(place.wish.cpus for place in places) and len(places) <= threads:
            problem = f"are {len(places)} on a host with {counted(total, 'core')} for serving, and cpus counts cores"
            raise WishError(INSTANCES, problem, "leave cpus out of all, and they share cores by their threads")
        problem = f"lists {len(places)} instances, the host has CPUs for {total} of them"
        raise WishError(INSTANCES, problem, "move some to another host, or let one instance serve several models")
    for place in places:
        wanted, room = place.wish.cpus or 0, left - waiting
        if wanted > room:
            problem = f"asks for {counted(wanted, 'core')}, the host has {total} for serving"
            if left < total:
                problem += f", of which {total - left} {'goes' if total - left == 1 else 'go'} to instances before it"
            if waiting:
                problem += f", and the {counted(waiting, 'instance')} on auto get at least one each"
            remedy = f"ask for at most {room}" if room > 0 else "use auto, or move an instance to another host"
            raise WishError(f"{place.wish.path}.cpus", problem, remedy)
        left -= wanted


def _grant(each: Place, free: Rooms, shared: list[Place], sockets: Mapping[int, Any]) -> None:
    """Give an instance the number of cores it asks for."""
    wanted = each.wish.cpus or 0
    for node, share in zip(each.homes, sharing.divided(wanted, list(each.homes.values()))):
        _take(each, free, node, share, shared)
    while len(each.cores) < wanted:
        left = wanted - len(each.cores)
        # Leave GPU instances on auto their minimum as long as there is another way.
        spare = {node: len(units) - sum(node in other.homes for other in shared) for node, units in free.items()}
        best = max(spare, key=lambda node: (*_suits(each, free, node, left, spare, shared, sockets), -node))
        _take(each, free, best, min(left, spare[best] if spare[best] > 0 else len(free[best])), shared)


def _suits(
    each: Place,
    free: Rooms,
    node: int,
    left: int,
    spare: Mapping[int, int],
    shared: list[Place],
    sockets: Mapping[int, Any],
) -> tuple[Any, ...]:
    """Return how well a node suits an instance that asks for ``left`` more cores; more is better."""
    usable, near = spare[node] > 0, each.near or {n for n in free if sockets[n] in _sockets(each, sockets)}
    on_socket = sum(max(0, room) for other, room in spare.items() if sockets[other] == sockets[node])
    kinds = sharing.kinds(free[node])
    spared = _spared(each, node, shared) if all(kinds) else 0
    return (
        node in each.homes and usable,
        # An instance that spans nodes stays on one socket if it can: its current one, else the roomiest.
        node in near and usable,
        min(on_socket, left),
        min(spare[node], max(len(kinds[0]) - spared, len(kinds[1]))) >= left,
        spare[node],
        len(free[node]),
    )


def _sockets(each: Place, sockets: Mapping[int, Any]) -> set[Any]:
    return {sockets[core.node] for core in each.cores}


def _spared(each: Place, node: int, shared: list[Place]) -> int:
    """Return how many performance cores of a node are reserved for instances on auto with an earlier turn."""
    return sum(other.turn < each.turn and (not other.homes or node in other.homes) for other in shared)


def _take(each: Place, free: Rooms, node: int, number: int, shared: list[Place]) -> None:
    """Hand over up to ``number`` units of a node, all of one kind if that kind has enough."""
    units = free.get(node, [])
    fast, slow = sharing.kinds(units)
    if fast and slow:
        spared, on_slow = _spared(each, node, shared), {core.efficiency for core in each.cores} == {True}
        fast_fits, slow_fits = len(fast) - spared >= number, len(slow) >= number
        # The kind with room; if both have it, performance cores, unless an earlier turn needs them or the instance is
        # on efficiency cores already.
        first_slow = slow_fits if fast_fits != slow_fits else bool(spared or (on_slow and slow_fits))
        units = [*slow, *fast] if first_slow else [*fast, *slow]
    sharing.move(each, free, node, units[:number])


def explain(sheet: Sheet, place: Place) -> None:
    """Note why an instance has these CPUs, and warn if it spans nodes, is far from its GPUs or mixes kinds of cores."""
    wish, nodes = place.wish, set(cpu_mask.numbers(place.nodes))
    on = cpu_mask.named("node", place.nodes)
    beside = "where there was most room"
    if place.homes:
        beside = "beside its GPUs" if nodes <= set(place.homes) else "not all of it fits beside its GPUs"
        if nodes <= place.near and not nodes <= set(place.homes):
            beside = "on the socket of its GPUs, since their own node has no more cores"
    share = "as asked" if wish.cpus else f"its share by weight {place.weight:g}"
    reason = f"{_counted_cores(place)} on {on}, {beside}; {share}"
    if wish.cpus:
        sheet.overrides.append("cpus")
        reason = f"(override) {reason}"
    sheet.reasons["cpus"], sheet.reasons["nodes"] = reason, f"the nodes of its CPUs: {beside}"
    _warn(sheet, place, nodes, on)


def _counted_cores(place: Place) -> str:
    cpus = cpu_mask.count(place.mask)
    if place.split:
        return f"{counted(cpus, 'CPU')}, a thread of a core that other instances share,"
    cores = len(place.cores)
    return counted(cores, "core") + (f" ({cpus} CPUs, all threads of each)" if cpus > cores else "")


def _warn(sheet: Sheet, place: Place, nodes: set[int], on: str) -> None:
    path, name, near = f"{place.wish.path}.cpus", place.wish.name, place.near
    if len(nodes) > 1 and not nodes <= near:
        sheet.warnings.append(f"{path}: '{name}' does not fit on one node and spans {on}; ask for fewer cores")
    elif near and not nodes & near:
        sheet.warnings.append(f"{path}: no core is free beside the GPUs of '{name}', so it runs on {on}")
    if place.split:
        sheet.warnings.append(f"{path}: '{name}' shares a core, because this host has fewer cores than instances")
    fast = sum(not core.efficiency for core in place.cores)
    if 0 < fast < len(place.cores):
        sheet.warnings.append(
            f"{path}: '{name}' mixes performance and efficiency cores, and an op that runs on both waits for the slow"
            f" ones; cpus: {fast} would give it performance cores alone"
        )
