# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One tuning from the first look at the server to the choice, conducted from one of the load hosts.

The measured host carries out trials, the load hosts send the load; both are workers of the same task.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..benchmark import conduct as benchmark
from ..benchmark import mix, progress_line, publish, requests, runner, sharding, team
from ..benchmark.crew import Crew
from ..benchmark.document import Cuts, Tune
from ..benchmark.load import Judged, Load
from ..benchmark.options import Options as Asked
from ..measure import series
from ..measure.knee import BETWEEN_S, LEAST_REQUESTS
from ..phrases import counted
from . import cuts, on_host, queueing, result, service_time, space
from .bracket import Bracket
from .bracket import judged as judged_stage
from .choice import Choice, choose
from .host_watch import HostWatch
from .measured_host import ANSWERED, Host
from .search import Options, Search
from .session import Session
from .space import Context, Setting
from .trial import Failed, Outcome, Trial
from .turns import Block, Turns
from .ways import RESTART, phrase

# Requests of a point of the service-time curve: the median of some 200 is known to a few per cent. Those of slow models
# are fewer, since ten points of some minutes each would be the whole budget, and their times scatter less.
POINT_REQUESTS = 200
SHORTEST_POINT_S, LONGEST_POINT_S = 4.0, 20.0
# The time of a call is that of a server that is mostly idle: a tenth of what one call after another would make.
IDLE = 0.1
# Stages of the best settings, over those that find them: 60 s instead of 10 s.
LONGER = 6
# An instance that needs longer for the requests of a p99 carries five a second, too few to be tuned.
LONGEST_STAGE_S = 120.0
OUT_OF_TIME_IN_TURNS = "the time budget ended before all turns were measured"
OUT_OF_TIME = "the time budget ended before a rate was found that keeps the objective"
# Of a server's last words in a document.
LONGEST_WORDS = 500


def follow(crew: Crew, call: Callable[[str, Mapping[str, Any]], dict[str, Any]], longest_s: float) -> None:
    """Call modules on the measured host as ordered, until the conductor dismisses its crew."""
    for order in crew.orders(longest_s):
        result = call(order["module"], order["arguments"])
        crew.answer({key: result[key] for key in ANSWERED if key in result})


class Tuner:
    """Measures trials until the search is over. Everything it is told is in the journal first."""

    def __init__(self, load: Load, host: Host, context: Context, tell: Callable[[str], None]) -> None:
        self._load, self._host, self._context, self._tell = load, host, context, tell
        self._watch = HostWatch(host, context.planned()["memory"], tell)

    def points(self) -> list[service_time.Point]:
        """Return the time of a call by its number of items, measured without batching."""
        found: list[service_time.Point] = []
        self._tell("  measuring the service time of calls, without batching")
        single = dataclasses.replace(space.of_plan(self._context.planned()), batches=None)
        refused = self._put(single)
        if isinstance(refused, Failed):
            raise WishError("instance", f"does not serve without batching: {refused.why}", "look at its log")
        while (size := service_time.next_size(found, self._load.slo_ms * 1000)) is not None:
            self._host.renew()
            found.append(service_time.Point(size, self._point_us(size, found)))
        return found

    def _point_us(self, items: int, found: Sequence[service_time.Point]) -> float:
        expected_s = 2 * found[-1].us / 1e6 if found else self._load.first_latency_s()
        rate = max(1.0, IDLE / expected_s)
        seconds = min(max(SHORTEST_POINT_S, POINT_REQUESTS / rate), LONGEST_POINT_S)
        sent = requests.scaled(self._load.requests, items)
        judged = self._load.stage(f"call of {items}", rate, seconds, lambda: seconds, sent)
        if not judged.histogram.total:
            raise WishError("instance", f"answers no request of {items} items: {judged.outcome.why}", "look at its log")
        return float(judged.histogram.quantile(0.5))

    def run(self, search: Search, session: Session) -> None:
        """Measure what the search asks for, and tell it what came of it."""
        while (trial := search.next()) is not None:
            self._tell(
                f"trial {trial.number} ({trial.rung}): {trial.why};"
                f" {progress_line.duration(search.left_s)} left of the budget"
            )
            outcome = self._measured(trial, search)
            session.tell(trial, outcome)

    def _measured(self, trial: Trial, search: Search) -> Outcome:
        outcome = self._compared(trial, search) if trial.rung == "turns" else self._bracketed(trial, search)
        return dataclasses.replace(outcome, host=self._watch.taken())

    def _bracketed(self, trial: Trial, search: Search) -> Outcome:
        """Look for the knee of a setting."""
        began = time.monotonic()
        put = self._put(trial.setting)
        change_s = time.monotonic() - began
        if isinstance(put, Failed):
            return dataclasses.replace(put, seconds=change_s, change_s=change_s)
        tried_by = str(put.get("tried_by", RESTART))
        self._tell(f"  in force after {progress_line.duration(change_s)}, by {phrase(put)}")
        bracket = Bracket(trial, self._load.slo_ms * 1000)
        while (rate := bracket.next()) is not None:
            if too_much := self._watch.too_much_memory():
                return Failed("failed", too_much, time.monotonic() - began, tried_by, change_s)
            seconds = stage_s(trial, rate)
            if time.monotonic() - began + self._takes_s(seconds) > search.left_for(trial.rung):
                bracket.end(OUT_OF_TIME)
                break
            judged = self._stage(f"trial {trial.number}", rate, seconds, search)
            bracket.tell(judged_stage(rate, judged.outcome, judged.percentiles))
        outcome = bracket.outcome(time.monotonic() - began)
        return dataclasses.replace(outcome, tried_by=tried_by, change_s=change_s)

    def _compared(self, trial: Trial, search: Search) -> Outcome:
        """Have a setting and the plan take turns."""
        began, in_force = time.monotonic(), None
        turns = Turns(trial, search.site.planned, self._load.slo_ms * 1000, search.options.seed)
        while (setting := turns.next()) is not None:
            put = self._put(setting) if setting != in_force else None
            if isinstance(put, Failed):
                turns.end(put.why)
                break
            in_force = setting
            if too_much := self._watch.too_much_memory():
                turns.end(too_much)
                break
            left_s = search.left_s - (time.monotonic() - began)
            if sum(self._takes_s(each) for each in turns.seconds) > left_s:
                turns.end(OUT_OF_TIME_IN_TURNS)
                break
            side = "plan" if setting == search.site.planned else "tuned"
            name = f"{'rate of the turns' if turns.is_looking else 'turns'}, {side}"
            turns.tell(block(self._stage(name, turns.rate, turns.seconds[0], search)))
        return turns.outcome(time.monotonic() - began)

    def _stage(self, name: str, rate: float, seconds: float, search: Search) -> Judged:
        return self._watch.stage(lambda: self._load.stage(name, rate, seconds, lambda: search.left_s))

    def cuts(self, search: Search, chosen: Setting | None) -> list[Cuts] | None:
        """Measure a request whole and in shards, with the chosen setting and the plan; None where that is not asked."""
        if not search.cuts_s:
            return None
        began, found = time.monotonic(), []
        cutting = cuts.Cutting(self._load, self._context, self._put, self._watch)
        for of, setting in cuts.wanted(chosen, search.site.planned):
            left_s = search.left_s - (time.monotonic() - began)
            if left_s < search.cuts_s:
                found.append(cuts.out_of_time(of, setting, left_s, search.cuts_s))
            else:
                found.append(cutting.measured(of, setting))
        return found

    def _put(self, setting: Setting) -> dict[str, Any] | Failed:
        """Put a setting in force; return what the host says of it, or why it cannot be."""
        self._watch.settings_changed()
        try:
            tried = self._host.put(self._context.plan_of(setting))
        except WishError as error:
            return Failed("illegal", str(error), 0.0)
        why = str(tried.get("msg"))[:LONGEST_WORDS]
        by = str(tried.get("tried_by", RESTART))
        return Failed("failed", why, 0.0, tried_by=by) if tried.get("failed") else tried

    def _takes_s(self, seconds: float) -> float:
        """Return what a stage takes with what belongs to it."""
        return seconds + besides_s(self._load.asked)


def besides_s(asked: Asked) -> float:
    """Return what a stage takes besides its own seconds, in s."""
    return asked.warmup_s + BETWEEN_S


def block(judged: Judged) -> Block:
    """Return a stage as a block of the turns. A side that is overloaded at their rate has lost, not spoilt them."""
    return Block(judged.outcome.of_server, judged.outcome.why, series.seconds(judged.entry["result"]))


def stage_s(trial: Trial, rate: float) -> float:
    """Return how long a stage of a trial takes, in s: as planned, or as long as the requests that p99 takes.

    Without them p99 is withheld, and a slow instance would fail at every rate that it carries.
    """
    return max(trial.stage_s, min(LEAST_REQUESTS / rate, LONGEST_STAGE_S))


@dataclass(frozen=True)
class Call:
    """What a tuning is called with."""

    asked: Asked
    target: Mapping[str, Any]
    context: Context
    tuned: Mapping[str, Any] | None
    """``tfserving_tuned`` as it is."""
    load_hosts: Sequence[str]
    tell: Callable[[str], None]

    @property
    def options(self) -> Options:
        """How long and how far the search goes."""
        asked, long_s = self.asked, LONGER * self.asked.stage_s
        return Options(
            asked.budget_s,
            asked.stage_s,
            long_s,
            long_s,
            besides_s=besides_s(asked),
            most=asked.trials,
            seed=asked.seed,
            cuts_s=0.0 if asked.shards is None else sharding.longest_s(asked),
        )

    @property
    def expires_s(self) -> int:
        """After how many seconds a trial that nobody postpones ends."""
        asked = self.asked
        longest_s = max(LONGER * asked.stage_s, LONGEST_STAGE_S)
        return on_host.expires_s(asked.warmup_s + longest_s + asked.timeout_s)


def conduct(call: Call, crew: Crew, place: runner.Place) -> Tune:
    """Return the document of a tuning. Raises WishError before anything is changed, or for what cannot be tuned."""
    _require_in_force(call)
    run = _session(call)
    together = team.Team(crew, place, call.load_hosts)
    seen = benchmark.look(together, call.asked, call.target)
    sent = mix.requests(call.asked, call.target, seen[0]["metadata"])
    if call.asked.shards is not None:
        sharding.counts_of(call.asked, max(each["items"] for each in sent.bodies))
    load = Load(call.asked, call.target, sent.bodies, together, [each["cores"] for each in seen], call.tell)
    served = call.target["conditions"].get("model_versions") or {}
    host = Host(crew, call.target["name"], call.asked.instance, owner(run.began), call.expires_s, served)
    tuner = Tuner(load, host, call.context, call.tell)
    try:
        search = run.search or run.start(tuner.points(), _wanted(call, sent))
        tuner.run(search, run)
        found = choose(search)
        shards = tuner.cuts(search, found.setting)
    finally:
        call.tell("  bringing the plan's settings back")
        restored = host.restore()
    return _document(call, search, found, shards, run.began, restored)


def owner(began: str) -> str:
    """Return the id by which the host knows the trials of a run, which an interrupted run goes on with."""
    return "tune-" + re.sub(r"[^0-9A-Za-z]", "", began)


def _require_in_force(call: Call) -> None:
    """Refuse an inventory that asks for other settings than those in force: trials would be compared with neither."""
    if call.context.planned()["digest"] != call.target["plan_digest"]:
        problem = f"asks for other settings of {call.asked.instance} than those in force on {call.target['name']}"
        raise WishError("inventory", problem, "run site.yml first")
    batching = call.context.planned()["batching"]
    if batching and batching.get("enable_large_batch_splitting"):
        problem = f"{call.asked.instance} cuts large requests, and trials would vary the largest one, not the batch"
        raise WishError("instance", problem, "tune without enable_large_batch_splitting, then set it again")


def _session(call: Call) -> Session:
    """Return the session of this run, which goes on with an earlier one that was interrupted."""
    publish.make_room(call.asked.output)
    path = Path(f"{call.asked.output}.journal").expanduser()
    versions = call.target["conditions"].get("model_versions") or {}
    run = Session(path, call.context, versions, call.target["slo_ms"], call.options, call.asked.search, benchmark.now())
    if run.resumed:
        call.tell(f"  going on with {path}: {counted(run.resumed, 'trial')} of an earlier run count")
    return run


def _wanted(call: Call, sent: mix.Mix) -> queueing.Load:
    return queueing.Load(slo_us=call.target["slo_ms"] * 1000, items=sent.described["items"]["mean"])


def _document(call: Call, search: Search, found: Choice, shards: list[Cuts] | None, began: str, restored: bool) -> Tune:
    text = result.inventory_text(search, found, call.target["name"], began[:10], call.tuned)
    return result.document(
        search,
        found,
        host=call.target["name"],
        began=began,
        ended=benchmark.now(),
        conditions=benchmark.conditions(call.target),
        restored=restored,
        inventory=text,
        shards=shards,
    )
