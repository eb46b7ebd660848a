# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One run of tuning: the journal and the search kept in step, begun anew or resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import journal as journals
from . import optuna_search, physics, seeds, service_time
from . import search as searches
from .journal import Journal
from .queueing import Load
from .search import Options, Search
from .service_time import Point
from .space import Context
from .trial import Outcome, Trial


class Session:
    """A run. First the curve (``next_size``, ``start``), then the trials (``next``, ``tell``)."""

    def __init__(
        self,
        path: Path,
        context: Context,
        versions: Mapping[str, Any],
        slo_p99_ms: float,
        options: Options,
        engine: str,
        now: str,
    ) -> None:
        """Resume what the journal at ``path`` holds, or begin anew.

        Raise WishError for a budget that is too small, an unknown engine, an inventory that cannot be planned, and the
        journal of something else.

        :param versions: the served versions of each model.
        :param now: the time as text, for the document.
        """
        searches.check(options)
        self._propose, self._remarks = optuna_search.chosen(engine)
        self.context, self.options = context, options
        self.journal = Journal(path)
        self.search: Search | None = None
        what = journals.identity(context, versions, slo_p99_ms, {**vars(options), "engine": engine})
        record = journals.read(path, what)
        self.began = record.began if record else now
        self.resumed = len(record.told) if record else 0
        if record is None:
            self.journal.begin(what, now)
        elif record.points and record.load:
            self.search = self._searched(record.points, record.load, record.wished)
            journals.replay(path, record, self.search)

    def start(self, points: Sequence[Point], load: Load, wished: float | None = None) -> Search:
        """Begin the search, once the service times are measured (``service_time.next_size`` says of which sizes).

        :param wished: the items a second that callers will send, where that is known.
        """
        self.search = self._searched(points, load, wished)
        self.journal.points(points, load, wished)
        return self.search

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Keep the outcome of a trial, in the journal first."""
        if self.search is None:
            raise ValueError("the service times are not measured")
        self.journal.told(trial, outcome)
        self.search.tell(trial, outcome)

    def _searched(self, points: Sequence[Point], load: Load, wished: float | None) -> Search:
        site = physics.survey(self.context, service_time.fit(points), load)
        return Search(site, seeds.seeds(site, wished), self.options, self._propose, self._remarks)
