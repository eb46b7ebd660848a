# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of an inventory: hosts with equal wishes in one group, all others in files of their own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..report.host_names import folded
from ..wishes.instances import INSTANCES
from .unsafe import document
from .wishes import HostWishes

GROUP = "tfserving"
# A name that can be that of a file, and that Ansible takes for a host's in it.
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,200}")
# Above all default ports of the collection and of what it installs.
FIRST_BESIDE = 18_500
_BESIDE = (
    "Used behind the inventory, this puts the instances on other ports, beside the old servers. Without it they get the"
    " ports that callers know, as soon as the old servers are stopped."
)
_HEAD = "Written by adopt.yml: equal in effect to the servers that run on {hosts}. Read it before you use it."


@dataclass(frozen=True)
class Fold:
    """Hosts with equal wishes."""

    name: str
    """The name of their group; that of the host where it is alone."""
    hosts: tuple[str, ...]
    variables: Mapping[str, Any]
    notes: Mapping[tuple[str, ...], str]


def folds(wished: Sequence[HostWishes]) -> list[Fold]:
    """Return the hosts that have wishes, by what they wish."""
    alike: list[tuple[HostWishes, list[str]]] = []
    for each in sorted(wished, key=lambda each: each.host):
        if not each.names:
            continue
        for first, hosts in alike:
            if (first.variables, first.notes) == (each.variables, each.notes):
                hosts.append(each.host)
                break
        else:
            alike.append((each, [each.host]))
    number, found = 0, []
    for first, hosts in alike:
        number += len(hosts) > 1
        name = GROUP if len(alike) == 1 else f"adopted_{number}" if len(hosts) > 1 else hosts[0]
        found.append(Fold(name, tuple(hosts), first.variables, first.notes))
    return found


def files(wished: Sequence[HostWishes]) -> dict[str, str]:
    """Return the files of the inventory by their paths in its folder."""
    found = folds(wished)
    result = {"hosts.yml": _hosts(found)}
    for each in found:
        heading = _HEAD.format(hosts=folded(each.hosts))
        if _in_group(each):
            result[f"group_vars/{each.name}.yml"] = document(each.variables, each.notes, heading)
        elif _FILE.fullmatch(each.name):
            result[f"host_vars/{each.name}.yml"] = document(each.variables, each.notes, heading)
    return result


def beside(wished: Sequence[HostWishes], taken: Mapping[str, Collection[int]]) -> dict[str, str]:
    """Return the files of a second inventory, by which the instances stand beside the old servers: on other ports.

    :param taken: the ports in use, by host.
    """
    result = {}
    for each in folds(wished):
        used = {port for host in each.hosts for port in taken.get(host, ())}
        instances = []
        for instance in each.variables[INSTANCES]:
            ports = _free(used)
            used.update(ports.values())
            instances.append({**instance, "ports": ports})
        folder = "group_vars" if _in_group(each) else "host_vars"
        if _FILE.fullmatch(each.name):
            notes = {path: note for path, note in each.notes.items() if path[0] == INSTANCES and "ports" not in path}
            result[f"{folder}/{each.name}.yml"] = document({INSTANCES: instances}, notes, _BESIDE)
    return {"hosts.yml": _hosts(folds(wished)), **result} if result else {}


def _free(used: Collection[int]) -> dict[str, int]:
    """Return two ports that follow each other and that nobody uses."""
    first = next(port for port in range(FIRST_BESIDE, 65_000, 10) if not {port, port + 1} & set(used))
    return {"grpc": first, "rest": first + 1}


def _in_group(each: Fold) -> bool:
    return each.name == GROUP or len(each.hosts) > 1


def _hosts(found: Sequence[Fold]) -> str:
    """Return the file of hosts; how they are reached stands in the inventory that they were found by."""
    alone = {each.hosts[0]: _inline(each) for each in found if each.name != GROUP and len(each.hosts) == 1}
    everyone = {host: None for each in found if each.name == GROUP for host in each.hosts}
    groups = {each.name: {"hosts": dict.fromkeys(each.hosts)} for each in found if each.name.startswith("adopted_")}
    content: dict[str, Any] = {"hosts": {**everyone, **alone}}
    if groups:
        content["children"] = groups
    heading = "Use it beside the inventory by which these hosts are reached: ansible-playbook -i OLD -i THIS ..."
    return document({GROUP: content}, {}, heading)


def _inline(each: Fold) -> Any:
    """Return the variables of a host whose name cannot be that of a file."""
    return None if _FILE.fullmatch(each.name) else dict(each.variables)
