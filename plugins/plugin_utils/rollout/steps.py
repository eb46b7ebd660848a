# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who serves what in a step of a roll-out: canary, control and stable hosts, and the shares of the traffic.

A version is split by host, since only that treats REST and gRPC alike. The canary hosts of a step are the first ones in
order, the control's the last ones: the canary's only become more with the steps, and no host is both. The control gets
as much traffic as the canary on as many hosts, so that caches and batches fill alike; the hosts between them serve the
rest. Where no hosts are left between, or too few for the rest, the control serves the rest as well.

One host splits by instance if several of its instances serve the model; else it cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted

WHOLE = 1000
# How much more than usual a host may get while others are canary or control, before the control helps out. Below
# this a fleet sized for the loss of one host of five is not stretched.
STRETCH = 1.25

Unit = tuple[str, str]
"""A host and one of its instances that serves the model."""


@dataclass(frozen=True)
class Shares:
    """The traffic of a step in permille."""

    canary: int
    control: int
    stable: int


@dataclass(frozen=True)
class Assignment:
    """Who serves what in one step."""

    percent: int
    shares: Shares
    canary: tuple[Unit, ...]
    control: tuple[Unit, ...]
    stable: tuple[Unit, ...]
    """Those that serve what neither arm gets; the control's among them where it helps out."""
    left_out: tuple[str, ...] = ()
    """Hosts that are down: they keep the old version on disk and get the new one from a later run."""

    @property
    def stretch(self) -> float:
        """Return how many times its usual traffic the busiest unit gets; 1.0 is what it gets without a roll-out."""
        # The control's units may serve the rest as well.
        usual = WHOLE / len({*self.canary, *self.control, *self.stable})
        load = {unit: 0.0 for unit in (*self.canary, *self.control, *self.stable)}
        for units, share in (
            (self.canary, self.shares.canary),
            (self.control, self.shares.control),
            (self.stable, self.shares.stable),
        ):
            for unit in units:
                load[unit] += share / len(units)
        return max(load.values()) / usual


def shares(percent: int) -> Shares:
    """Return the traffic of each arm in permille: the control as much as the canary, while there is as much left."""
    canary = percent * WHOLE // 100
    control = min(canary, WHOLE - canary)
    return Shares(canary, control, WHOLE - canary - control)


def assign(
    path: str,
    fleet: Mapping[str, Sequence[str]],
    percent: int,
    canary: int | Sequence[str] = 1,
    down: Collection[str] = (),
    limit: Collection[str] | None = None,
) -> Assignment:
    """Return who serves what in a step; raise WishError, one sentence, for what cannot be.

    :param path: of the wish, for refusals.
    :param fleet: hosts in the order of the inventory, each with its instances that serve the model.
    :param canary: the least number of canary hosts, or the names of the first ones.
    :param down: hosts that cannot be reached.
    :param limit: the hosts that this run may change; None for all.
    """
    up = {host: tuple(instances) for host, instances in fleet.items() if instances and host not in down}
    left_out = tuple(host for host in fleet if host in down)
    _refuse_hosts(path, fleet, up, canary, down, limit)
    first = list(canary) if not isinstance(canary, int) else []
    changeable = [host for host in up if limit is None or host in limit]
    order = first + [host for host in changeable if host not in first]
    units = [(host, instance) for host in up for instance in up[host]]
    if percent == 100:
        _refuse_limit(path, percent, len(up), len(changeable))
        return Assignment(percent, shares(percent), tuple(units), (), (), left_out)
    if len(up) == 1:
        return _of_one(path, percent, units, left_out)
    least = canary if isinstance(canary, int) else len(canary)
    # Enough of them to carry their share as the others carry theirs. The last host stays the control.
    wanted = _enough([*order, *(host for host in up if host not in order)], up, -(-percent * len(units) // 100), least)
    wanted = wanted[: len(up) - 1]
    _refuse_limit(path, percent, len(wanted), len(order))
    return _split(percent, wanted, up, left_out)


def _enough(order: Sequence[str], up: Mapping[str, Sequence[str]], instances: int, least: int) -> list[str]:
    """Return the first hosts that hold a number of instances together, and not fewer hosts than ``least``."""
    chosen: list[str] = []
    for host in order:
        if len(chosen) >= least and sum(len(up[each]) for each in chosen) >= instances:
            break
        chosen.append(host)
    return chosen


def _split(
    percent: int, chosen: Sequence[str], up: Mapping[str, Sequence[str]], left_out: tuple[str, ...]
) -> Assignment:
    canary = _units(chosen, up)
    rest = [host for host in up if host not in chosen]
    given = shares(percent)
    # From the end: hosts that become canary last.
    behind = _enough(rest[::-1], up, len(canary), 1)
    control = _units([host for host in rest if host in behind], up)
    between = _units([host for host in rest if host not in behind], up)
    usual = WHOLE / (len(canary) + len(control) + len(between))
    helps = not between or given.stable / len(between) > usual * STRETCH
    stable = _units(rest, up) if helps and given.stable else between
    if not given.stable and between:
        # All traffic that is not the canary's is the control's.
        control, stable = _units(rest, up), ()
    return Assignment(percent, given, canary, control, stable, left_out)


def _of_one(path: str, percent: int, units: Sequence[Unit], left_out: tuple[str, ...]) -> Assignment:
    host = units[0][0]
    if len(units) == 1:
        raise WishError(
            f"{path}.steps",
            f"has a step of {percent} %, and only {host}{', of those up,' if left_out else ''} serves the model, with"
            " one instance",
            "add a host or a second instance, or set it to [100]",
        )
    given = shares(percent)
    count = min(-(-percent * len(units) // 100), len(units) - 1)
    canary, others = tuple(units[:count]), tuple(units[count:])
    control = others if not given.stable else others[-count:]
    return Assignment(percent, given, canary, control, others if given.stable else (), left_out)


def _units(hosts: Collection[str], up: Mapping[str, Sequence[str]]) -> tuple[Unit, ...]:
    return tuple((host, instance) for host in hosts for instance in up[host])


def _refuse_hosts(
    path: str,
    fleet: Mapping[str, Sequence[str]],
    up: Mapping[str, Sequence[str]],
    canary: int | Sequence[str],
    down: Collection[str],
    limit: Collection[str] | None,
) -> None:
    if not up:
        problem = "has no host to begin with: " + ("all that serve the model are down" if fleet else "none serves it")
        raise WishError(path, problem, "bring one up, or name the model in an instance")
    for at, host in enumerate(() if isinstance(canary, int) else canary):
        place = f"{path}.canary[{at}]"
        if not fleet.get(host):
            raise WishError(place, f"is {host}, which does not serve the model", f"name one of {_some(list(up))}")
        if host in down:
            raise WishError(place, f"is {host}, which cannot be reached", "bring it up, or name another one")
        if limit is not None and host not in limit:
            raise WishError(place, f"is {host}, which is outside the limit of this run", "widen --limit to it")
    if limit is not None and not any(host in limit for host in up):
        raise WishError(path, "has none of its hosts within the limit of this run", f"add one of {_some(list(up))}")


def _refuse_limit(path: str, percent: int, needed: int, found: int) -> None:
    if found < needed:
        raise WishError(
            f"{path}.steps",
            f"has a step of {percent} %, which takes {counted(needed, 'host')}, and this run's limit holds {found}",
            "run without --limit",
        )


def _some(hosts: Sequence[str]) -> str:
    """Return a few names, as 200 of them fill a screen."""
    shown = ", ".join(hosts[:5])
    return shown if len(hosts) <= 5 else f"{shown} and {len(hosts) - 5} more"
