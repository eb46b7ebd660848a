# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which cores each instance gets.

Counts are granted first, then the instances on ``auto`` divide what is left of their node by weight. Instances with
GPUs live where their GPUs hang, the others where most room is. A core belongs to one instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.planner import cpu_mask
from ansible_collections.tfserving.fleet.plugins.module_utils.planner.machine import Core
from ansible_collections.tfserving.fleet.plugins.module_utils.planner.reasons import Sheet, counted
from ansible_collections.tfserving.fleet.plugins.module_utils.wishes import INSTANCES, InstanceWish

Rooms = dict[int, list[Core]]


@dataclass
class Place:
    """The cores of one instance, and what they were chosen for."""

    wish: InstanceWish
    homes: dict[int, int]
    """How many of its GPUs hang on each node; empty for an instance that may live anywhere."""
    cores: list[Core] = field(default_factory=list)
    split: bool = False
    """Whether it has threads of cores rather than whole ones."""

    @property
    def mask(self) -> int:
        """The CPUs of the instance."""
        return cpu_mask.union(core.mask for core in self.cores)

    @property
    def nodes(self) -> int:
        """The nodes of these CPUs, as a mask."""
        return cpu_mask.of(core.node for core in self.cores)

    @property
    def weight(self) -> float:
        """The share of an instance grows with the GPUs that its CPUs have to feed."""
        return self.wish.weight * max(1, sum(self.homes.values()))


def place(wishes: list[InstanceWish], homes: list[dict[int, int]], serving: Mapping[int, list[Core]]) -> list[Place]:
    """Return the place of each wish, in the order of the wishes.

    ``homes`` names for each wish the nodes of its GPUs. Raises WishError where cores run out.
    """
    places = [Place(wish, home) for wish, home in zip(wishes, homes)]
    free = _units(places, serving)
    _refuse_too_many(places, free)
    fixed = [each for each in places if each.wish.cpus]
    shared = [each for each in places if not each.wish.cpus]
    # Those with GPUs cannot move, and large ones fit in fewer places than small ones.
    for each in sorted(fixed, key=lambda each: (not each.homes, -(each.wish.cpus or 0))):
        _grant(each, free, shared)
    if shared:
        _divide(shared, free)
    for each in places:
        each.cores.sort()
    return places


def _units(places: list[Place], serving: Mapping[int, list[Core]]) -> Rooms:
    """Return what is dealt out: cores, or their threads one by one where there are fewer cores than instances."""
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


def _grant(each: Place, free: Rooms, shared: list[Place]) -> None:
    """Give an instance the number of cores that it asks for."""
    wanted = each.wish.cpus or 0
    for node, share in zip(each.homes, _divided(wanted, list(each.homes.values()))):
        _move(each, free, node, share)
    while len(each.cores) < wanted:
        # What GPU instances on auto will need at the least stays with them while there is another way.
        spare = {node: len(units) - sum(node in other.homes for other in shared) for node, units in free.items()}
        roomiest = max(
            spare, key=lambda node: (node in each.homes and spare[node] > 0, spare[node], len(free[node]), -node)
        )
        granted = min(wanted - len(each.cores), spare[roomiest] if spare[roomiest] > 0 else len(free[roomiest]))
        _move(each, free, roomiest, granted)


def _move(each: Place, free: Rooms, node: int, number: int) -> None:
    """Hand over the first units of a node, as many of ``number`` as there are."""
    units = free.get(node, [])
    each.cores += units[:number]
    del units[:number]


@dataclass
class _Claim:
    """The wish of one instance on auto for a part of one node."""

    place: Place
    weight: float


def _divide(shared: list[Place], free: Rooms) -> None:
    """Divide every node among the instances on auto that live there."""
    claims: dict[int, list[_Claim]] = {node: [] for node in free}
    for each in shared:
        gpus = sum(each.homes.values())
        for node, near in each.homes.items():
            if node in claims:
                claims[node].append(_Claim(each, each.weight * near / gpus))
    anywhere = [each for each in shared if not any(node in claims for node in each.homes)]
    for each in sorted(anywhere, key=lambda each: -each.weight):
        roomiest = max(free, key=lambda node: (_room(free[node], claims[node], each.weight), -node))
        claims[roomiest].append(_Claim(each, each.weight))
    _relieve(claims, free)
    for node, units in free.items():
        sizes = _divided(len(units), [claim.weight for claim in claims[node]], least=1)
        for claim, size in zip(list(claims[node]), sizes):
            _move(claim.place, free, node, size)


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
        # Let go whoever has a share elsewhere, then whoever is not tied to this node, then the last.
        leaving = max(
            reversed(claims[crowded]),
            key=lambda claim: (_elsewhere(claims, claim, crowded), not claim.place.homes),
        )
        claims[crowded].remove(leaving)
        if not _elsewhere(claims, leaving, crowded):
            # Where no node has room, the one where somebody with a share elsewhere can give way in the next round.
            target = max(
                (node for node in free if node != crowded),
                key=lambda node: (
                    room[node] > 0,
                    any(_elsewhere(claims, claim, node) for claim in claims[node]),
                    room[node],
                    -node,
                ),
            )
            claims[target].append(_Claim(leaving.place, leaving.place.weight))


def _elsewhere(claims: Mapping[int, list[_Claim]], wanted: _Claim, here: int) -> bool:
    return any(claim.place is wanted.place for node, others in claims.items() if node != here for claim in others)


def _divided(total: int, weights: list[float], least: int = 0) -> list[int]:
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


def explain(sheet: Sheet, place: Place) -> None:
    """Note why an instance has these CPUs, and warn where it straddles nodes, is far from its GPUs or mixes cores."""
    wish, nodes = place.wish, set(cpu_mask.numbers(place.nodes))
    on = cpu_mask.named("node", place.nodes)
    beside = "where most room was"
    if place.homes:
        beside = "beside its GPUs" if nodes <= set(place.homes) else "not all of it fits beside its GPUs"
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
    path, name, near = f"{place.wish.path}.cpus", place.wish.name, set(place.homes)
    if len(nodes) > 1 and not nodes <= near:
        sheet.warnings.append(f"{path}: '{name}' does not fit on one node and straddles {on}; ask for fewer cores")
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
