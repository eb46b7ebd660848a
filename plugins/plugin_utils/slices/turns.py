# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to disturb hosts, over all slices of a run: the budget of the fleet, and the signal to stop.

A batch takes one token for each of its hosts before it touches them, and gives them back after its proof. A batch that
never gives them back has failed, and no other begins after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .split import Schedule

# The kind of work that a host ends with.
LAST = "serve"


@dataclass(frozen=True)
class Batch:
    """Hosts that a slice takes together, for one kind of work."""

    slice: int
    kind: str
    hosts: tuple[str, ...]


@dataclass
class _Kind:
    stage: Mapping[str, int]
    most: Sequence[int]
    left: Counter[int] = field(default_factory=Counter)


class Turns:
    """The tokens. Nothing here waits: what cannot begin yet is asked for again."""

    def __init__(self, domain: Mapping[str, str]) -> None:
        self._domain = domain
        self._kinds: dict[str, _Kind] = {}
        self._held: dict[int, Batch] = {}
        self._doubted: set[int] = set()
        self.why_stopped = ""
        self.begun: list[str] = []
        self.done: list[str] = []

    def plan(self, kind: str, made: Schedule, most: Sequence[int]) -> None:
        """Learn the hosts of one kind of work, and how many of them may be disturbed at once."""
        self._kinds[kind] = _Kind(made.stage, most, Counter(made.stage.values()))

    def holds(self, number: int) -> bool:
        """Tell whether a slice has tokens."""
        return number in self._held

    def batch(self, number: int) -> Batch | None:
        """Return what a slice has tokens for, if anything."""
        return self._held.get(number)

    def held(self) -> list[str]:
        """Return the hosts whose tokens are taken, those of the oldest batch first."""
        return [host for batch in self._held.values() for host in batch.hosts]

    def unknown(self, batch: Batch) -> list[str]:
        """Return the hosts of a batch that nobody has announced."""
        known = self._kinds.get(batch.kind)
        return [host for host in batch.hosts if known is None or host not in known.stage]

    def may_begin(self, batch: Batch) -> bool:
        """Tell whether a batch may begin now."""
        if self.why_stopped or batch.slice in self._held or self._doubted - {batch.slice}:
            return False
        held = self.held()
        return self._fits(batch, len(held)) and (not held or self._is_one_domain([*held, *batch.hosts]))

    def _fits(self, batch: Batch, held: int) -> bool:
        kind = self._kinds[batch.kind]
        stage = max(kind.stage[host] for host in batch.hosts)
        earlier = any(kind.left[each] for each in range(stage))
        return not earlier and held + len(batch.hosts) <= kind.most[stage]

    def _is_one_domain(self, hosts: Sequence[str]) -> bool:
        # Hosts without a domain are a domain of their own together only where nobody has any.
        return not self._domain or len({self._domain.get(host, host) for host in hosts}) == 1

    def begin(self, batch: Batch) -> None:
        """Take the tokens of a batch that may begin."""
        self._held[batch.slice] = batch
        self._doubted.discard(batch.slice)
        self.begun += [host for host in batch.hosts if host not in self.begun]

    def end(self, number: int, proven: Sequence[str]) -> None:
        """Give back the tokens of a slice, with the hosts of its batch that are proven."""
        batch = self._held.pop(number, None)
        self._doubted.discard(number)
        if batch:
            kind = self._kinds[batch.kind]
            kind.left -= Counter(kind.stage[host] for host in batch.hosts)
            self.done += [host for host in batch.hosts if batch.kind == LAST and host in proven]

    def doubt(self, number: int) -> None:
        """Begin no batch of others until this slice has gone on or ended: a task has failed, and may be made good."""
        self._doubted.add(number)

    def ended(self, number: int, done: Sequence[str], why: str) -> None:
        """Note the end of a slice: with a reason where it failed, or else with its hosts that need no turn any more."""
        self._doubted.discard(number)
        if why:
            self.stop(why)
            return
        self._held.pop(number, None)
        self.done += [host for host in done if host not in set(self.done)]
        for kind in self._kinds.values():
            # Hosts that were announced and never came, such as those that another play has taken out.
            kind.left = Counter(stage for host, stage in kind.stage.items() if host not in set(self.done))

    def stop(self, why: str) -> None:
        """Begin no further batch. The first reason stays."""
        self.why_stopped = self.why_stopped or why
