# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The data types of a report, from which all layouts are made.

Everything is frozen and free of host names, UUIDs and other traits of a single machine: two hosts are alike exactly if
their sheets are equal, and a sheet can be the key of a dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass

# Owners of a CPU other than instances, whose keys are their places in the plan: "instance-0".
SYSTEM = "system"
FREE = "free"
OFFLINE = "offline"


@dataclass(frozen=True)
class Owner:
    """An owner of CPUs: an instance, the system, nobody yet, or nobody at all."""

    key: str
    glyph: str
    name: str
    cpus: int
    number: int | None
    """The place of an instance in the plan; None for other owners."""


@dataclass(frozen=True)
class Core:
    """A core with its threads, lowest CPU first, and the owner key of each."""

    cpus: tuple[int, ...]
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Device:
    """A GPU or a NIC."""

    label: str
    detail: str
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A NUMA node with its devices. ``blocks`` are its cores, one block for each kind."""

    title: str
    detail: str
    blocks: tuple[tuple[Core, ...], ...]
    gpus: tuple[Device, ...]
    nics: tuple[Device, ...]


@dataclass(frozen=True)
class Board:
    """A socket with its nodes, or several sockets that share one node."""

    title: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Machine:
    """The picture of a machine."""

    summary: tuple[str, ...]
    boards: tuple[Board, ...]
    owners: tuple[Owner, ...]

    def owner(self, key: str) -> Owner:
        """Return the owner with this key."""
        return next(owner for owner in self.owners if owner.key == key)


@dataclass(frozen=True)
class Column:
    """A column of a table; adjacent columns with the same heading share it."""

    heading: str
    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table and its instance."""

    owner: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of instances."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Reason:
    """The reason for a figure, for all ``owners`` that share it; no owners for a figure of the host."""

    owners: tuple[str, ...]
    value: str
    text: str
    override: bool


@dataclass(frozen=True)
class Figure:
    """A figure of the plan, by its path, with its reasons."""

    path: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Change:
    """A figure that differs from the plan in force; a missing side is empty."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Verdict:
    """The effect of a plan on one instance."""

    name: str
    effect: str
    """"restart", "reload", "adjust", "none", "add" or "remove"; ``difference.EFFECTS`` words them."""
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Difference:
    """The changes that a plan makes on a host."""

    first: bool
    """Whether no plan is in force yet."""
    host: tuple[Change, ...]
    instances: tuple[Verdict, ...]
    waits: tuple[str, ...] = ()
    """The moves of models that a run leaves to rollout.yml, as sentences; they change nothing."""

    @property
    def empty(self) -> bool:
        """Whether the plan in force is this one."""
        return not self.first and not self.host and all(verdict.effect == "none" for verdict in self.instances)


@dataclass(frozen=True)
class Sheet:
    """The report of one plan, without what the host runs now."""

    server: str
    machine: Machine
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """The hosts of a group on which the same would change."""

    hosts: str
    count: int
    difference: Difference


@dataclass(frozen=True)
class Group:
    """Hosts whose plans look the same."""

    hosts: str
    count: int
    sheet: Sheet
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Report:
    """The whole fleet."""

    count: int
    groups: tuple[Group, ...]
    missing: str
    """The hosts that could not be planned, as one text."""
