# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a benchmark, by what it measures: one rate, the knee, shards of a request, two instances in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..measure import knee, turns
from ..measure.interleave import Side
from .bodies import Request
from .document import Document
from .load import Judged, Load
from .options import USUAL_DURATION_S
from .repeat import repeat
from .sharding import Sharding

# A search begins at this share of what one request after another would make. A server that takes one call at a time is
# then 40 % busy, which an objective of a few times its latency bears; one that breaks there is found by halving. From a
# tenth two more stages pass that tell nothing, each of which takes a slow instance a minute and more for a p99. In
# simulated searches of 15 minutes (M/M/1 and M/M/4, ten each) 20 of 20 were confirmed from 0.4, 18 from 0.1; 18 and 15
# were within 5 % of the knee.
BEGIN = 0.4
# A stage at one a second takes nine minutes for the requests of a p99.
LEAST_START = 1.0


class Course:
    """Runs the stages, and keeps the document after each of them.

    Raises WishError for an earlier run that cannot be compared with.
    """

    def __init__(
        self,
        load: Load,
        document: dict[str, Any],
        keep: Callable[[Mapping[str, Any]], Any],
        before: Document | None,
        other: Load | None = None,
    ) -> None:
        self._load, self._document, self._keep = load, document, keep
        self._other = other
        self._repeat = repeat(load.asked, before) if before else None

    def run(self) -> None:
        """Run the stages of what is asked for."""
        kind = self._load.asked.kind
        if self._other:
            self._turns(self._load, self._other)
        elif kind == "fixed" or self._repeat:
            self._fixed()
        elif kind == "knee":
            self._document["knee"] = self._knee()
        else:
            self._document["shards"], advice = Sharding(self._load, self._stage).run()
            self._document["remarks"].append(advice)

    def _fixed(self) -> None:
        asked = self._load.asked
        rate, seconds = self._repeat or (asked.rate or 0.0, asked.duration_s or USUAL_DURATION_S)
        self._document["kind"] = "fixed"
        self._stage("fixed", rate, seconds, lambda: asked.warmup_s + seconds)

    def _turns(self, load: Load, other: Load) -> None:
        """Measure both instances in blocks, of which the stages tell the side."""
        asked = load.asked
        measured: list[tuple[Side, Mapping[str, Any]]] = []
        left = list(asked.blocks)
        while left:
            left_s, turn = sum(asked.warmup_s + each.seconds for each in left), left.pop(0)
            side = turn.side.upper()
            loaded = {"A": load, "B": other}[side]
            name, rate = f"{side} {turn.number}", asked.rate or 0.0
            block = loaded.stage(name, rate, turn.seconds, partial(float, left_s), is_part=True)
            self._done({**block.entry, "side": side})
            measured.append((turn.side, block.entry))
            left = left or turns.spare(asked.blocks, measured)

    def _knee(self) -> dict[str, Any] | None:
        asked = self._load.asked
        start = max(LEAST_START, BEGIN / self._load.first_latency_s())
        search = knee.Search(start, asked.budget_s, asked.warmup_s)
        while (wanted := search.next()) is not None:
            judged = self._stage(wanted.name, wanted.rate, wanted.seconds, search.left_s)
            search.tell(wanted, judged.outcome)
        found = search.knee()
        if found is None:
            self._document["remarks"].append(f"no rate was found: {search.reason}")
        return found.to_json() if found else None

    def _stage(
        self,
        name: str,
        rate: float,
        seconds: float,
        left_s: Callable[[], float],
        requests: Sequence[Request] | None = None,
    ) -> Judged:
        judged = self._load.stage(name, rate, seconds, left_s, requests)
        self._done(judged.entry)
        return judged

    def _done(self, entry: dict[str, Any]) -> None:
        self._document["stages"].append(entry)
        self._keep(self._document)
