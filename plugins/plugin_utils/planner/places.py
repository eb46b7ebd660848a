# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The place of an instance: its cores, and the GPUs they were chosen for."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..wishes.read import InstanceWish
from .machine import Core

# Free cores by node.
Rooms = dict[int, list[Core]]

# Order of access to performance cores on hybrid hosts: profiles whose requests run one by one go first.
TURNS = {"latency": 0, "balanced": 1, "throughput": 2}


@dataclass
class Place:
    """The cores of one instance, and the GPUs they were chosen for."""

    wish: InstanceWish
    homes: dict[int, int]
    """The number of its GPUs on each node; empty if the instance may be placed anywhere."""
    near: set[int] = field(default_factory=set)
    """The nodes on the sockets of its GPUs, including those of the GPUs."""
    cores: list[Core] = field(default_factory=list)
    split: bool = False
    """Whether it has single threads rather than whole cores."""
    mask: int = 0
    """The CPUs of these cores, once settled."""
    nodes: int = 0
    """The nodes of these CPUs, as a mask."""

    @property
    def turn(self) -> int:
        """Its turn to take performance cores, lower ones first."""
        return TURNS[self.wish.profile]

    @property
    def weight(self) -> float:
        """Its weight in the division of cores, which grows with the number of GPUs to feed."""
        return self.wish.weight * max(1, sum(self.homes.values()))
