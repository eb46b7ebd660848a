# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The throughput within the objective, with settings that the tuner found and with the plan's, for each lab model.

The search is that of tune.yml, run in this process: reference servers with the real TensorFlow runtime on one CPU of
this machine, started anew for each trial, and the load generator on the others. `--grid` races every setting of a grid
besides (support/grid.py): what the search missed, and with how many runs.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from support import figures, grid, knees, local_load
from support.local_load import part

TARGET = 1.0  # tuned / planned
GRID_TARGET, RUNS_TARGET = 0.95, 0.1  # tuned / the best of the grid; runs of the search / runs of the grid
PREDICTED_TARGET = 0.15  # how far the predicted knee may be from the measured one
# Of a search, the service times of calls aside, which take two to four minutes more.
BUDGET_S = 900
# Seconds of a stage that sorts settings out, of one that tells the best apart, and of the warm-up before each: a server
# has answered some requests before it counts as started. p99 takes 459 requests, so slow servers get longer stages.
STAGE_S, LONG_S, WARMUP_S = 5.0, 10.0, 1
# A short try of the grid has no second to spare for it.
GRID_WARMUP_S = 0.5
RESTART_S = 2.0
TRIALS = 20
TAKES = {False: "18 minutes a model", True: "an hour a model, half of it for the grid"}


class Work(NamedTuple):
    """What something took: trials of settings, stages of load, seconds."""

    trials: int
    stages: int
    seconds: float


class Raced(NamedTuple):
    """What became of a grid; `turns` has the knees of the tuner's choice and of the best two, in their turns."""

    settings: int
    race: Any
    turns: dict[Any, list[Any]]
    work: Work


class Tuned(NamedTuple):
    """What became of one model; `raced` is None unless the grid was measured."""

    search: Any
    choice: Any
    work: Work
    raced: Raced | None


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

    def renew(self) -> dict[str, Any]:
        """Nothing ends by itself here, and nothing is told of memory or of the host."""
        return {}

    def restore(self) -> bool:
        self._server.close()
        return True


def main() -> int:
    parser = local_load.arguments(__doc__)
    parser.add_argument("--budget", type=int, default=BUDGET_S, help="seconds of each search (default: %(default)s)")
    parser.add_argument("--grid", action="store_true", help="measure a whole grid too")
    options = parser.parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes(TAKES[options.grid]), flush=True)
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
    asked = local_load.asked(model, "tune", budget=budget_s, trials=TRIALS, stage=STAGE_S, warmup=WARMUP_S)
    where = local_load.target(model)
    host, began, stages = Host(model, where), time.monotonic(), team.stages
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
        work = Work(len(search.history), team.stages - stages, time.monotonic() - began)
        raced = _raced(team, host, context, load, search.site, choice) if with_grid and choice.setting else None
        return Tuned(search, choice, work, raced)
    finally:
        host.restore()


def _raced(team: Any, host: Host, context: Any, load: Any, site: Any, choice: Any) -> Raced:
    """Every setting of the grid against the tuner's choice; then that and the grid's best two in turns."""
    began, stages = time.monotonic(), team.stages
    asked = dataclasses.replace(load.asked, warmup_s=GRID_WARMUP_S)
    servers, entries = grid.Servers(host, context, dataclasses.replace(load, asked=asked)), grid.settings(site)
    known = next(each.rate for each in choice.evidence if each.setting == choice.setting)
    race = grid.Race(servers, known, local_load.tell)
    race.run(entries)
    work = Work(len(entries), team.stages - stages, time.monotonic() - began)
    turns: dict[Any, list[Any]] = {each: [] for each in (choice.setting, *race.finalists())}
    # Of three knees of one setting in ten minutes, one was a third above the other two: the middle one is what counts.
    for setting in [*turns, *reversed(turns), *turns]:
        turns[setting].append(servers.turn(setting, race.knees.get(setting, known), LONG_S))
    return Raced(len(entries), race, turns, work)


def _session(path: Path, context: Any, asked: Any) -> Any:
    options = part("plugin_utils.tuning.search").Options(
        budget_s=asked.budget_s,
        explore_s=asked.stage_s,
        confirm_s=LONG_S,
        final_s=LONG_S,
        restart_s=RESTART_S,
        besides_s=part("plugin_utils.tuning.conduct").besides_s(asked),
        most=asked.trials,
        seed=asked.seed,
    )
    versions = {context.instance: [local_load.VERSION]}
    now = part("plugin_utils.benchmark.conduct").now()
    session = part("plugin_utils.tuning.session").Session
    return session(path, context, versions, local_load.SLO_MS, options, asked.search, now)


def reasons(model: str, found: Tuned) -> str:
    setting = found.choice.setting
    chosen = [f"the setting: {setting.to_json()}"] if setting else []
    lines = [f"{model}: {found.choice.verdict}", *chosen, *found.choice.reasons, *found.search.remarks]
    failed = [each.outcome for each in found.search.history if not hasattr(each.outcome, "rate")]
    stopped = [each for each in failed if each.outcome != "stopped early"]
    if stopped:
        lines.append(f"{len(stopped)} of {len(found.search.history)} trials failed, the first one: {stopped[0].why}")
    return "\n  ".join(lines)


def report(found: Mapping[str, Tuned]) -> str:
    title = (
        f"Knees in requests/s (lowest - highest bracket), p99 within {local_load.SLO_MS:g} ms, by REST; stages of "
        f"{STAGE_S:g} s and {LONG_S:g} s"
    )
    header = ("model", "no batches", "planned", "chosen", "chosen / planned", "target", "verdict")
    tables = [figures.table(title, header, [_row(model, each) for model, each in found.items()])]
    title = "The search, and the knees that it predicted before it measured them"
    header = ("model", "trials", "stages", "minutes", "chosen, predicted / measured", "target", "of all settings")
    tables.append(figures.table(title, header, [_search_row(model, each) for model, each in found.items()]))
    raced = [(model, each) for model, each in found.items() if each.raced]
    if raced:
        title = "Against a grid, whose best two took turns with the tuner's choice; a trial is one setting put in force"
        header = ("model", "tuned / best of the grid", "target", "trials, search / grid", "target", "stages", "minutes")
        tables.append(figures.table(title, header, [_grid_row(*each) for each in raced]))
        tables += [_grid_notes(model, each.raced) for model, each in raced]
    return "\n".join(tables)


def _row(model: str, found: Tuned) -> tuple[Any, ...]:
    choice, site = found.choice, found.search.site
    evidence = {each.setting: each for each in choice.evidence}
    cells = [_knee(evidence.get(setting)) for setting in (site.single, site.planned, choice.setting)]
    if not choice.setting or not choice.against_planned:
        return (model, *cells, "no ratio", f"at least {TARGET:g}: not measured", choice.verdict)
    value, low, high = choice.against_planned
    verdict = "the plan was right" if choice.verdict == "plan" else choice.verdict
    ratio = f"{value:.2f} ({low:.2f} - {high:.2f})"
    return (model, *cells, ratio, figures.verdict(value, at_least=TARGET), verdict)


def _search_row(model: str, found: Tuned) -> tuple[Any, ...]:
    work, choice = found.work, found.choice
    shares = predicted(found.search, choice.evidence)
    cells = (model, work.trials, work.stages, f"{work.seconds / 60:.0f}")
    if choice.setting not in shares:
        return (*cells, "not measured", "", "")
    share = shares[choice.setting]
    verdict = f"within {PREDICTED_TARGET:.0%}: {'met' if abs(share - 1) <= PREDICTED_TARGET else 'missed'}"
    return (*cells, f"{share:.2f}", verdict, figures.compared(list(shares.values())))


def predicted(search: Any, evidence: Any) -> dict[Any, float]:
    """The knee that was expected of each setting when it was first tried, over the one that was measured at last.

    From the second trial on, expectations go by the knees that were measured before.
    """
    expected: dict[Any, float] = {}
    for each in search.history:
        expected.setdefault(each.trial.setting, each.trial.predicted)
    return {each.setting: expected[each.setting] / each.rate for each in evidence}


def _grid_row(model: str, found: Tuned) -> tuple[Any, ...]:
    raced, work = found.raced, found.work
    share = work.trials / raced.work.trials
    cells = (
        f"{work.trials} of {raced.work.trials}, {share:.0%}",
        figures.verdict(round(share, 3), at_most=RUNS_TARGET),
        f"{work.stages} / {raced.work.stages}",
        f"{work.seconds / 60:.0f} / {raced.work.seconds / 60:.0f}",
    )
    ours, *others = raced.turns.values()
    ratio = knees.ratio(ours, max(others, key=_middle), median) if others else None
    if ratio is None:
        return (model, "not measured", f"at least {GRID_TARGET}: not measured", *cells)
    value, low, high = ratio
    return (model, f"{value:.2f} ({low:.2f} - {high:.2f})", figures.verdict(value, at_least=GRID_TARGET), *cells)


def _grid_notes(model: str, raced: Raced) -> str:
    """Which settings took turns, and what the race is worth."""
    race = raced.race
    lines = [
        f"{model}: {setting.to_json()['batching']}: {knees.shown(found, median)}"
        for setting, found in raced.turns.items()
    ]
    survived = f"{len(race.knees)} of {raced.settings} carried {grid.AHEAD:g} times what was known then"
    lines.append(f"{model}: {survived}; {len(race.unmeasured)} were disturbed or did not start, and are not measured")
    return "\n".join(["", *lines])


def _middle(turns: list[Any]) -> float:
    return float(median(getattr(each, "rate", 0.0) for each in turns))


def _knee(found: Any) -> str:
    return f"{found.rate:.0f} ({found.low:.0f} - {found.high:.0f})" if found else "none"


if __name__ == "__main__":
    sys.exit(main())
