# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The throughput within the objective, with settings that the tuner found and with the plan's, for each lab model.

The search is that of tune.yml, run in this process: reference servers with the real TensorFlow runtime on one CPU of
this machine, started anew for each trial, and the load generator on the others. `--grid` measures every combination of
a grid besides, which takes hours: what the search missed, and with how many runs.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, local_load
from support.local_load import part

TARGET = 1.0  # tuned / planned
GRID_TARGET, RUNS_TARGET = 0.95, 0.1  # tuned / the best of the grid; runs of the search / runs of the grid
PREDICTED_TARGET = 0.15  # how far the predicted knee may be from the measured one
BUDGET_S = 900
# Seconds of a stage that sorts settings out, and of one that tells the best apart. p99 takes 459 requests, so that ten
# seconds find no knee below 46 requests a second.
STAGE_S, LONG_S = 10.0, 30.0
RESTART_S = 4.0
TRIALS = 12
# The grid: batch sizes, timeouts as shares of the objective, batch threads, and room in the queue.
SIZES = tuple(2**power for power in range(1, 9))
TIMEOUTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
THREADS = (1, 2)
ROOM = (0.5, 1.0)


class Tuned(NamedTuple):
    """What became of one model; `grid` is None unless it was measured."""

    search: Any
    choice: Any
    grid: Grid | None


class Host:
    """The measured host of a tuning: one server at a time, on the local CPU (tuning.conduct.Host)."""

    def __init__(self, model: str, where: dict[str, Any]) -> None:
        self.name = local_load.NAME
        self._model, self._where, self._server = model, where, ExitStack()

    def put(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        self.restore()
        try:
            server = self._server.enter_context(local_load.serving(self._model, plan))
        except SystemExit as error:  # what the server said on its way out
            return {"failed": True, "msg": str(error)}
        self._where.update(local_load.ports(server))
        return {"changed": True}

    def renew(self) -> None:
        """Nothing ends by itself here."""

    def restore(self) -> bool:
        self._server.close()
        return True


class Grid:
    """Every setting of the grid once, then its best and the tuner's choice for longer, in turns; asked like a search
    (tuning.search.Search) and like a session."""

    left_s = 0.0  # nobody knows; for the progress

    def __init__(self, search: Any, chosen: Any) -> None:
        physics, site = part("plugin_utils.tuning.physics"), search.site
        error = part("module_utils.errors").WishError
        shaped = itertools.starmap(
            lambda size, share, threads, room: physics.shaped(site, size, int(share * site.load.slo_us), threads, room),
            itertools.product(SIZES, TIMEOUTS, THREADS, ROOM),
        )
        legal = [each for each in map(site.legal, [site.single, *shaped]) if not isinstance(each, error)]
        self._search, self._chosen = search, chosen
        self._queue = [(setting, "explore") for setting in dict.fromkeys(legal)]
        self.runs = len(self._queue)
        self._found: dict[Any, float] = {}
        self.confirmed: dict[Any, list[float]] = {}

    def next(self) -> Any:
        if not self._queue and not self.confirmed:
            best = sorted(self._found, key=lambda setting: -self._found[setting])[:2]
            self.confirmed = {setting: [] for setting in dict.fromkeys([self._chosen, *best])}
            turns = [*self.confirmed, *reversed(self.confirmed)]
            self._queue = [(setting, "confirm") for setting in turns]
        return self._trial(*self._queue[0]) if self._queue else None

    def tell(self, trial: Any, outcome: Any) -> None:
        setting, rung = self._queue.pop(0)
        rate = getattr(outcome, "rate", 0.0)
        if rung == "confirm":
            self.confirmed[setting].append(rate)
        else:
            self._found[setting] = rate

    def ratios(self) -> list[float]:
        """The chosen setting over the best of the grid, in each of the two turns."""
        others = [rates for setting, rates in self.confirmed.items() if setting != self._chosen]
        best = max(others, key=sum) if others else self.confirmed[self._chosen]
        return [ours / theirs for ours, theirs in zip(self.confirmed[self._chosen], best) if theirs]

    def _trial(self, setting: Any, rung: str) -> Any:
        predicted = self._search.predicted(setting)
        return part("plugin_utils.tuning.trial").Trial(
            number=len(self._found) + 1,
            setting=setting,
            origin="search",
            rung=rung,
            repeat=1,
            stage_s=self._search.options.stage_s(rung),
            precision=part("plugin_utils.tuning.search").PRECISION[rung],
            start_rate=self._found.get(setting) or predicted,
            must_carry=None,
            predicted=predicted,
            why=f"of the grid, {len(self._queue)} left",
        )


def main() -> int:
    parser = local_load.arguments(__doc__, BUDGET_S)
    parser.add_argument("--grid", action="store_true", help="measure a whole grid too (hours)")
    options = parser.parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    found = {}
    with local_load.team() as team:
        for model in options.model or local_load.MODELS:
            found[model] = tuned(team, model, options.budget, options.grid)
            print(reasons(model, found[model]), flush=True)
    print(report(found))
    return 0


def tuned(team: Any, model: str, budget_s: int, with_grid: bool) -> Tuned:
    """Tune a model as tune.yml does, without Ansible between the parts."""
    conduct, context = part("plugin_utils.tuning.conduct"), local_load.context(model)
    asked = local_load.asked(model, "tune", budget=budget_s, trials=TRIALS, stage=STAGE_S)
    where = local_load.target(model)
    host = Host(model, where)
    try:
        host.put(context.planned())  # for the first look at its signature
        load = local_load.load(asked, where, team)
        tuner = conduct.Tuner(load, host, context, local_load.tell)
        with tempfile.TemporaryDirectory(prefix="fleet-tune-") as folder:
            session = _session(Path(folder) / "journal", context, asked)
            wanted = part("plugin_utils.tuning.queueing").Load(
                slo_us=local_load.SLO_MS * 1000, items=load.requests[0]["items"]
            )
            search = session.start(tuner.points(), wanted)
            tuner.run(search, session)
        choice = part("plugin_utils.tuning.choice").choose(search)
        grid = Grid(search, choice.setting) if with_grid and choice.setting else None
        if grid:
            tuner.run(grid, grid)
        return Tuned(search, choice, grid)
    finally:
        host.restore()


def _session(path: Path, context: Any, asked: Any) -> Any:
    options = part("plugin_utils.tuning.search").Options(
        budget_s=asked.budget_s,
        explore_s=asked.stage_s,
        confirm_s=LONG_S,
        final_s=LONG_S,
        restart_s=RESTART_S,
        most=asked.trials,
        seed=asked.seed,
    )
    versions = {context.instance: [local_load.VERSION]}
    now = part("plugin_utils.benchmark.conduct").now()
    session = part("plugin_utils.tuning.session").Session
    return session(path, context, versions, local_load.SLO_MS, options, asked.search, now)


def reasons(model: str, found: Tuned) -> str:
    lines = [f"{model}: {found.choice.verdict}", *found.choice.reasons, *found.search.remarks]
    failed = [each.outcome for each in found.search.history if not hasattr(each.outcome, "rate")]
    stopped = [each for each in failed if each.outcome != "stopped early"]
    if stopped:
        lines.append(f"{len(stopped)} of {len(found.search.history)} trials failed, the first one: {stopped[0].why}")
    return "\n  ".join(lines)


def report(found: Mapping[str, Tuned]) -> str:
    header = (
        "model",
        "without batches",
        "planned",
        "chosen",
        "chosen / planned",
        "target",
        "trials",
        "predicted / measured",
        "target",
        "verdict",
    )
    title = (
        f"Knees in requests/s (lowest - highest bracket), p99 within {local_load.SLO_MS:g} ms, by REST; stages of "
        f"{STAGE_S:g} s and {LONG_S:g} s"
    )
    tables = [figures.table(title, header, [_row(model, each) for model, each in found.items()])]
    grids = [(model, each) for model, each in found.items() if each.grid]
    if grids:
        columns = ("model", "settings of the grid", "tuned / best of the grid", "target", "runs, share", "target")
        title = "Against every setting of a grid, whose best two were measured again in turns with the tuner's choice"
        tables.append(figures.table(title, columns, [_grid_row(*each) for each in grids]))
    return "\n".join(tables)


def _row(model: str, found: Tuned) -> tuple[Any, ...]:
    choice, site = found.choice, found.search.site
    evidence = {each.setting: each for each in choice.evidence}
    cells = [_knee(evidence.get(setting)) for setting in (site.single, site.planned, choice.setting)]
    runs = len(found.search.history)
    if not choice.setting or not choice.against_planned:
        return (model, *cells, "no ratio", f"at least {TARGET:g}: not measured", runs, "", "", choice.verdict)
    value, low, high = choice.against_planned
    share = predicted(found.search, choice.setting) / evidence[choice.setting].rate
    return (
        model,
        *cells,
        f"{value:.2f} ({low:.2f} - {high:.2f})",
        figures.verdict(value, at_least=TARGET),
        runs,
        f"{share:.2f}",
        f"within {PREDICTED_TARGET:.0%}: {'met' if abs(share - 1) <= PREDICTED_TARGET else 'missed'}",
        "the plan was right" if choice.verdict == "plan" else choice.verdict,
    )


def predicted(search: Any, setting: Any) -> float:
    """The knee that was expected of a setting when it was first tried."""
    return next(each.trial.predicted for each in search.history if each.trial.setting == setting)


def _grid_row(model: str, found: Tuned) -> tuple[Any, ...]:
    grid = found.grid
    ratios, share = grid.ratios(), len(found.search.history) / grid.runs
    shown = figures.compared(ratios) if ratios else "not measured"
    verdict = figures.verdict(figures.median(ratios), at_least=GRID_TARGET) if ratios else ""
    runs = f"{len(found.search.history)} of {grid.runs}, {share:.0%}"
    return (model, grid.runs, shown, verdict, runs, figures.verdict(round(share, 3), at_most=RUNS_TARGET))


def _knee(found: Any) -> str:
    return f"{found.rate:.0f} ({found.low:.0f} - {found.high:.0f})" if found else "none"


if __name__ == "__main__":
    sys.exit(main())
