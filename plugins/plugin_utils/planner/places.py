# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where an instance lives: the cores it has, and what they were chosen for."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..wishes.read import InstanceWish
from .machine import Core

# What is free of each node.
Rooms = dict[int, list[Core]]

# Who gets performance cores first on hosts with two kinds of cores: those whose requests run one by one.
TURNS = {"latency": 0, "balanced": 1, "throughput": 2}


@dataclass
class Place:
    """The cores of one instance, and what they were chosen for."""

    wish: InstanceWish
    homes: dict[int, int]
    """How many of its GPUs are attached to each node; empty for an instance that may be placed anywhere."""
    near: set[int] = field(default_factory=set)
    """The nodes on the sockets of its GPUs, those of the GPUs among them."""
    cores: list[Core] = field(default_factory=list)
    split: bool = False
    """Whether it has threads of cores rather than whole ones."""
    mask: int = 0
    """The CPUs of these cores, once they are settled."""
    nodes: int = 0
    """The nodes of these CPUs, as a mask."""

    @property
    def turn(self) -> int:
        """When its turn is to take performance cores, the lower the earlier."""
        return TURNS[self.wish.profile]

    @property
    def weight(self) -> float:
        """The share of an instance grows with the GPUs that its CPUs have to feed."""
        return self.wish.weight * max(1, sum(self.homes.values()))
