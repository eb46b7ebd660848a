# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a benchmark, by what it measures: one rate, the knee, or the shards of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..measure import knee
from .bodies import Request
from .document import Document
from .load import Judged, Load
from .options import USUAL_DURATION_S
from .sharding import Sharding

# A search begins where the instance is mostly idle, so that its first stages pass: at a tenth of what one request after
# another would make.
IDLE = 0.1
LEAST_START = 1.0


class Course:
    """Runs the stages, and keeps the document after each of them."""

    def __init__(
        self,
        load: Load,
        document: dict[str, Any],
        keep: Callable[[Mapping[str, Any]], Any],
        before: Document | None,
    ) -> None:
        self._load, self._document, self._keep, self._before = load, document, keep, before

    def run(self) -> None:
        """Run the stages of what is asked for."""
        kind = self._load.asked.kind
        if kind == "fixed" or self._before is not None:
            self._fixed()
        elif kind == "knee":
            self._document["knee"] = self._knee()
        else:
            self._document["shards"], advice = Sharding(self._load, self._stage).run()
            self._document["remarks"].append(advice)

    def _fixed(self) -> None:
        asked = self._load.asked
        rate, seconds = asked.rate, asked.duration_s or USUAL_DURATION_S
        if self._before is not None:
            stage = compared_stage(self._before)
            rate = rate or stage["rate"]
            seconds = asked.duration_s or (stage["result"] or {}).get("duration_s") or USUAL_DURATION_S
        self._document["kind"] = "fixed"
        self._stage("fixed", float(rate or 0), seconds, lambda: asked.warmup_s + seconds)

    def _knee(self) -> dict[str, Any] | None:
        asked = self._load.asked
        start = max(LEAST_START, IDLE / self._load.first_latency_s())
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
        self._document["stages"].append(judged.entry)
        self._keep(self._document)
        return judged


def compared_stage(before: Document) -> Mapping[str, Any]:
    """Return the stage of an earlier run that another one is compared with: of one rate, or the knee's last."""
    stages = [each for each in before["stages"] if each["name"].startswith(("fixed", "confirm")) and each["result"]]
    if not stages:
        raise WishError("against", "holds no stage to compare with", "give a run with a knee or at one rate")
    last: Mapping[str, Any] = stages[-1]
    return last
