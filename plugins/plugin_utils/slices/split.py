# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who is in which slice, and in which batches a slice takes its hosts. The same input gives the same slices.

Hosts of one failure domain are spread over all slices, and all slices take the domains in the same order. A domain
wholly in one slice would have as many domains disturbed at once as there are slices, which is the one thing that a
failure domain is there to rule out; it would also bind the number of slices to the number of domains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..fleet.hosts import named


def limits(serial: Any, hosts: int) -> list[int]:
    """Return how many hosts may be disturbed at once, for each batch of ``fleet_serial``; the last one stays.

    A percentage is of the hosts of the run, rounded down as Ansible does, and never less than one.
    """
    sizes = serial if isinstance(serial, list) else [serial]
    return [max(1, _count(str(size), hosts)) for size in sizes]


def _count(size: str, hosts: int) -> int:
    return int(int(size[:-1]) / 100 * hosts) if size.endswith("%") else int(size)


def by_domain(hosts: Sequence[str], domain: Mapping[str, str]) -> list[str]:
    """Return the hosts domain by domain, both in the order of the inventory."""
    rank: dict[str, int] = {}
    for host in hosts:
        rank.setdefault(domain.get(host, ""), len(rank))
    return sorted(hosts, key=lambda host: rank[domain.get(host, "")])


def deal(hosts: Sequence[str], count: int) -> list[list[str]]:
    """Return the slices: the hosts dealt out like cards, so that neighbours are in different slices."""
    return [list(hosts[number::count]) for number in range(max(1, min(count, len(hosts))))]


def check(slices: Sequence[Sequence[str]], hosts: Sequence[str]) -> None:
    """Refuse slices that do not have every host exactly once."""
    seen = Counter(host for each in slices for host in each)
    twice = [host for host, times in seen.items() if times > 1]
    if twice:
        raise WishError(named(sorted(twice)), "is in two slices", "nothing has been changed; name each host once")
    if seen.keys() != set(hosts):
        odd = sorted(seen.keys() ^ set(hosts))
        raise WishError(named(odd), "is in no slice or in no fleet", "nothing has been changed; name each host once")


@dataclass(frozen=True)
class Schedule:
    """The batches of all slices for one kind of turn."""

    serial: dict[int, list[int]]
    """By slice the sizes of its batches, as Ansible's ``serial``."""
    stage: dict[str, int]
    """By host the place in ``limits`` that counts while it is disturbed."""


def schedule(slices: Mapping[int, Sequence[str]], domain: Mapping[str, str], most: Sequence[int]) -> Schedule:
    """Return the batches in which slices take their hosts: none across two domains, none larger than its share.

    :param slices: by slice its hosts, in the order in which its play has them.
    :param most: how many may be disturbed at once (``limits``): the first number counts for as many hosts, and so on.
    """
    turn = [host for row in zip_longest(*slices.values()) for host in row if host is not None]
    stage = dict(zip(turn, _stages(len(turn), most)))
    serial = {}
    for number, hosts in slices.items():
        sizes: list[int] = []
        for (of, _domain), run in groupby(hosts, key=lambda host: (stage[host], domain.get(host, ""))):
            sizes += _cut(len(list(run)), _share(number, of, slices, stage, most))
        serial[number] = sizes
    return Schedule(serial, stage)


def _stages(count: int, most: Sequence[int]) -> list[int]:
    found: list[int] = []
    for stage, size in enumerate(most[:-1]):
        found += [stage] * size
    return (found + [len(most) - 1] * count)[:count]


def _share(
    number: int, of: int, slices: Mapping[int, Sequence[str]], stage: Mapping[str, int], most: Sequence[int]
) -> int:
    """Return how many hosts a slice may take at once so that all that take part can do so together, or one."""
    part = [each for each, hosts in slices.items() if any(stage[host] == of for host in hosts)]
    whole, rest = divmod(most[of], len(part))
    return max(1, whole + (part.index(number) < rest))


def _cut(count: int, size: int) -> list[int]:
    return [size] * (count // size) + ([count % size] if count % size else [])
