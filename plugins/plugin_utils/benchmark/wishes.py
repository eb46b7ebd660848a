# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which host a benchmark measures and which hosts send the load, decided from the inventory alone."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import LONGEST_NAME, WishError, nearest

from .options import Options

GROUP = "tfserving_load"
# A host of its own in the inventory of the run: the implicit localhost would take the connection of the group all.
CONTROLLER = "this-controller"
# From this likeness on (difflib, 0 to 1) a variable of the command line is taken for a slip. Options have short common
# names, so what is less alike is the user's own: 'state' is no 'stage' (0.80), and 'mine' no 'engine' (0.6).
SLIP = 0.82


def target_host(instance: str, wanted: str | None, serving: Mapping[str, Sequence[str]]) -> str:
    """Return the host to measure: the wanted one, or the first that has the instance.

    :param serving: the names of the instances that the inventory gives each host of the fleet.
    """
    if wanted is not None and wanted not in serving:
        raise WishError("host", f"{wanted} is no host of the fleet", nearest(wanted, serving) or "name one that is")
    able = [host for host, names in serving.items() if instance in names and wanted in (None, host)]
    if able:
        return able[0]
    known = sorted({name for host, names in serving.items() for name in names if wanted in (None, host)})
    where = f"host {wanted}" if wanted else "the fleet"
    remedy = nearest(instance, known) or (
        f"use one of: {', '.join(known)}" if known else "add it to tfserving_instances"
    )
    raise WishError("instance", f"{instance} is no instance of {where}", remedy)


def sides(asked: Options, serving: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return what is measured: A, the instance that is asked for, and B, another one to be measured in turns with it.

    :param serving: the names of the instances that the inventory gives each host of the fleet.
    """
    host = target_host(asked.instance, asked.host, serving)
    found = [{"side": "A", "instance": asked.instance, "host": host}]
    if asked.other:
        other = other_host(asked.other, asked.against_host, (host, asked.instance), serving)
        found.append({"side": "B", "instance": asked.other, "host": other})
    return found


def other_host(other: str, wanted: str | None, measured: tuple[str, str], serving: Mapping[str, Sequence[str]]) -> str:
    """Return the host of another instance: the wanted one, the measured one if it has it, or the first that does.

    :param measured: the host and the instance that the other one is compared with.
    """
    if wanted is not None and wanted not in serving:
        problem = f"{wanted} is no host of the fleet"
        raise WishError("against_host", problem, nearest(wanted, serving) or "name one that is")
    if not any(other in names for names in serving.values()):
        raise _neither(other, serving)
    able = [host for host, names in serving.items() if other in names and wanted in (None, host)]
    if not able:
        raise WishError("against", f"{other} is no instance of host {wanted}", "name another one, or no against_host")
    able = [host for host in able if (host, other) != measured]
    if not able:
        problem = f"{other} on {measured[0]} is what is measured"
        raise WishError("against", problem, "name another instance, or another host that has it with against_host")
    return measured[0] if measured[0] in able else able[0]


def _neither(other: str, serving: Mapping[str, Sequence[str]]) -> WishError:
    known = sorted({name for names in serving.values() for name in names})
    remedy = nearest(other, known) or f"use one of: {', '.join(known)}; or a path that ends in .json"
    return WishError("against", f"{other} is neither an instance of the fleet nor the JSON file of a run", remedy)


def load_hosts(groups: Mapping[str, Sequence[str]], targets: Sequence[str]) -> list[str]:
    """Return the hosts of the group, or the controller; refuse a measured host among them."""
    members = list(groups.get(GROUP) or [CONTROLLER])
    for target in targets:
        if target in members:
            raise WishError(
                GROUP,
                f"{target} is the host to be measured, and load made on it would take the CPU from the server",
                "remove it from the group, or measure another host with -e host=...",
            )
    return members


def require_within_limit(needed: Sequence[str], within: Collection[str], limit: str) -> None:
    """Refuse a limit that leaves out a host that takes part."""
    missing = [host for host in needed if host not in within]
    if missing:
        raise WishError(
            "--limit",
            f"{limit} leaves out {', '.join(missing)}, which takes part in the benchmark",
            "remove it, and name the host to measure with -e host=...",
        )


def misspelt(extra: Collection[str], options: Collection[str], known: Collection[str]) -> list[WishError]:
    """Return refusals of names given with -e that are close to an option, since Ansible would ignore them."""
    return [
        WishError(name, "is no variable of a benchmark", f"did you mean '{meant}'?")
        for name in sorted(set(extra) - set(options) - set(known))
        for meant in difflib.get_close_matches(name[:LONGEST_NAME], sorted(options), n=1, cutoff=SLIP)
    ]
