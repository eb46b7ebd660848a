# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The search: which setting to measure next, as a pure function of what it has been told.

Baseline, plan, the other seeds, then proposals; the best half again for longer, the best three three times; at last the
best against the plan, in turns. What it is told, in order, is its whole state, so a run that was killed resumes by
telling it all again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from . import climb, costs, physics, turns
from .history import Drift, Epoch, Told, best_half, epochs, is_doubted
from .physics import Site
from .pick import pick
from .seeds import Seeds
from .service_time import shown
from .space import Setting
from .trial import Outcome, Trial
from .ways import RESTART

# Proposals without an improvement of IMPROVED, after which a search ends.
PATIENCE = 5
IMPROVED = 0.02
# After so many other trials the baseline is measured again.
BASELINE_EVERY = 5
# A setting that does not carry this share of the best knee so far is stopped early.
EARLY_STOP = 0.8
FINALISTS = 3
# Stages that a trial takes: from a predicted knee, by doubling and bisection; from a measured one, next to it.
STAGES = {"explore": 5, "again": 3, "confirm": 3, "final": 2}
# To this the knee is found: roughly to sort settings out, finely to tell the best apart.
PRECISION = {"explore": 0.05, "again": 0.02, "confirm": 0.02, "final": 0.02, "turns": 0.0}
# Shares of the time before the turns at which exploring and confirming end.
UNTIL = {"explore": 0.8, "confirm": 0.9, "final": 1.0, "again": 1.0}
# Where the turns are held at the least, from the plan's knee (0) to the other one (1), in logarithms: so far beyond the
# plan's knee that its p99 leaves the objective, and so far below the other that it has room. At 0, 6 of 20 simulated
# comparisons of settings that carry at least a tenth more found no difference, at a quarter and at a half none; at a
# half the better one was more often over the objective itself.
BETWEEN = 0.25

# A search doubles a rate at most. Physics knows no other limit than calls, so that it may be far off beyond what was
# measured, and a server is not to be flooded for it.
LEAP = 2.0

Propose = Callable[[Site, Sequence[tuple[Setting, float]], Collection[Setting], int], "Setting | None"]


@dataclass(frozen=True)
class Options:
    """How long and how far a search goes; times in seconds."""

    budget_s: float = 1800.0
    explore_s: float = 10.0
    confirm_s: float = 60.0
    final_s: float = 60.0
    repeats: int = 3
    restart_s: float = 10.0
    """What a restart with other settings takes, before one was measured."""
    besides_s: float = 0.0
    """What a stage takes besides its own seconds, such as its warm-up."""
    most: int = 20
    """Settings to measure at most."""
    seed: int = 1
    cuts_s: float = 0.0
    """What the shards of a request take after the search, a start of the server aside; 0 where none are asked for."""

    def stage_s(self, rung: str) -> float:
        """Return the seconds of a stage, or of a block of the turns."""
        longer = {"confirm": self.confirm_s, "final": self.final_s, "turns": turns.STAGES * self.explore_s}
        return longer.get(rung, self.explore_s)

    def stages_s(self, rung: str) -> float:
        """Return the seconds of all stages of a trial, or of all looks and blocks of the turns."""
        if rung != "turns":
            return STAGES[rung] * (self.stage_s(rung) + self.besides_s)
        blocks = 2 * turns.PAIRS
        return turns.LOOKS * self.explore_s + blocks * self.stage_s(rung) + (turns.LOOKS + blocks) * self.besides_s

    def expected_s(self, rung: str) -> float:
        """Return the seconds of a trial that takes a restart, or of the turns, whose settings change places."""
        return (turns.MOST_STARTS if rung == "turns" else 1) * self.restart_s + self.stages_s(rung)

    def least_budget_s(self) -> float:
        """Return the seconds of one comparison: two settings, each explored, and both in turns."""
        cuts_s = self.cuts_s + self.restart_s if self.cuts_s else 0.0
        return 2 * self.expected_s("explore") + self.expected_s("turns") + cuts_s


def check(options: Options, variable: str = "budget") -> None:
    """Raise WishError if the budget does not last for one comparison."""
    least = options.least_budget_s()
    if options.budget_s < least:
        and_cuts = " and to measure shards" if options.cuts_s else ""
        problem = f"is {options.budget_s:g} s, too short to compare the plan with one other setting{and_cuts}"
        raise WishError(variable, problem, f"give at least {math.ceil(least)} s")


class Search:
    """The search for the settings of one instance. ``next`` says what to measure, ``tell`` takes the outcome."""

    def __init__(
        self, site: Site, seeds: Seeds, options: Options, propose: Propose = climb.propose, remarks: Sequence[str] = ()
    ) -> None:
        self.site = site
        self.seeds = seeds
        self.options = options
        self.history: list[Told] = []
        self._propose = propose
        self._remarks = list(remarks)
        self._next: list[Trial | None] = []

    @property
    def spent_s(self) -> float:
        """The seconds that the trials took."""
        return sum(each.outcome.seconds for each in self.history)

    @property
    def left_s(self) -> float:
        """The seconds that are left of the budget."""
        return max(0.0, self.options.budget_s - self.spent_s)

    @property
    def turns_s(self) -> float:
        """The seconds that the turns will take, whose blocks have one length whatever the trials took."""
        return turns.MOST_STARTS * self._restart_s + self.options.stages_s("turns")

    @property
    def cuts_s(self) -> float:
        """The seconds that the shards of a request will take with one setting, after the search."""
        return self._restart_s + self.options.cuts_s if self.options.cuts_s else 0.0

    @property
    def _restart_s(self) -> float:
        measured_s = costs.measured_s(self.history, RESTART)
        return self.options.restart_s if measured_s is None else measured_s

    def left_for(self, rung: str) -> float:
        """Return the seconds that a trial of a rung may take at most: what follows the rung must be left."""
        return max(0.0, self.left_s - self.cuts_s - (0.0 if rung == "turns" else self.turns_s))

    @property
    def drifts(self) -> list[Drift]:
        """The changes of the host so far."""
        return epochs(self.history, self.site.single)[1]

    @property
    def epoch(self) -> Epoch:
        """The trials that may be compared with each other."""
        return epochs(self.history, self.site.single)[0][-1]

    @property
    def remarks(self) -> list[str]:
        """What readers of the result should know of the search."""
        refused = len(self.seeds.refused)
        refusals = [f"the planner refused {counted(refused, 'starting point')}"] if refused else []
        drifts = [drift.sentence() for drift in self.drifts]
        return [*self._remarks, *refusals, *drifts, *self._calibration(), *costs.remark(self.history)]

    @property
    def calibrated(self) -> Site:
        """The site as the measured knees have shown it."""
        baseline = self.epoch.baseline(self.site.single)
        batched = {each.trial.setting: each.rate for each in self.epoch.of("explore") if each.trial.setting.batches}
        return physics.calibrated(self.site, baseline.rate if baseline else 0.0, batched)

    def _calibration(self) -> list[str]:
        site = self.calibrated
        if site is self.site:
            return []
        times = f"{shown(site.curve.a)} and {shown(site.curve.c)} for each item"
        return [f"predictions go by calls of {times}, as the measured knees show them"]

    def next(self) -> Trial | None:
        """Return the trial to measure, the same until it is told, or None when the search is over."""
        if not self._next:
            self._next.append(self._decide())
        return self._next[0]

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Take the outcome of the trial that ``next`` returned."""
        if trial != self.next():
            raise ValueError(f"trial {trial.number} is not the one that was asked for")
        self.history.append(Told(trial, outcome))
        self._next.clear()

    def _decide(self) -> Trial | None:
        past, _ = epochs(self.history, self.site.single)
        epoch = past[-1]
        wanted = self._explore(past) or self._confirm(epoch) or self._final(epoch)
        # The turns meet one host, so that they need no baseline.
        return self._again(epoch) or wanted if wanted else self._turns(epoch)

    def _again(self, epoch: Epoch) -> Trial | None:
        """Return a further measurement of the baseline if one is due."""
        baseline = epoch.baseline(self.site.single)
        if baseline is None:
            return None
        last = max(number for number, each in enumerate(self.history) if each.trial.setting == self.site.single)
        if len(self.history) - last - 1 < BASELINE_EVERY and not is_doubted(baseline, epoch.told):
            return None
        if not self._affords("again", self.site.single):
            return None
        return self._trial(self.site.single, "default", "again", "the baseline, to see whether the host has changed")

    def _explore(self, past: Sequence[Epoch]) -> Trial | None:
        epoch = past[-1]
        if epoch.of("confirm", "final"):
            return None
        done = {each.trial.setting for each in epoch.of("explore", "again")}
        best_before = list(past[-2].measured("explore", "again"))[:1] if len(past) > 1 else []
        for setting, origin, why in self._queue(past):
            needed = setting in (self.site.single, self.site.planned, *best_before)
            if setting not in done and (needed or self._affords("explore", setting)):
                return self._trial(setting, origin, "explore", why)
        tried = {each.trial.setting for each in self.history}
        if len(tried) >= self.options.most or self._is_stuck(epoch):
            return None
        measured = [(setting, told.rate) for setting, told in epoch.measured("explore", "again").items()]
        proposed = self._propose(self.calibrated, measured, tried, self.options.seed + len(self.history))
        if proposed is None or not self._affords("explore", proposed):
            return None
        return self._trial(proposed, "search", "explore", "a step from the best so far")

    def _queue(self, past: Sequence[Epoch]) -> list[tuple[Setting, str, str]]:
        """Return what to measure before anything is proposed; after a drift, what was best before it."""
        seeds = [(seed.setting, seed.origin, seed.why) for seed in self.seeds.found]
        if len(past) == 1:
            return seeds
        origins = {each.trial.setting: each.trial.origin for each in self.history}
        kept = best_half(past[-2].measured("explore", "again"))
        again = [(setting, origins[setting], "among the best before the host changed") for setting in kept]
        return [*seeds[:2], *again]

    def _is_stuck(self, epoch: Epoch) -> bool:
        """Return whether the last proposals have not improved on what was there before them."""
        best, idle = 0.0, 0
        for each in epoch.of("explore"):
            if each.rate > best * (1 + IMPROVED):
                best, idle = each.rate, 0
            elif each.trial.origin == "search":
                idle += 1
        return idle >= PATIENCE

    def _confirm(self, epoch: Epoch) -> Trial | None:
        ranked = list(epoch.measured("explore", "again"))
        done = {each.trial.setting for each in epoch.of("confirm")}
        known = [setting for setting in (self.site.planned, self.site.single) if setting in ranked]
        order = list(dict.fromkeys([*ranked[:1], *known, *best_half(ranked)]))
        for setting in order:
            if setting not in done and self._affords("confirm", setting):
                return self._trial(setting, self._origin(setting), "confirm", "among the best half, for longer")
        return None

    def _final(self, epoch: Epoch) -> Trial | None:
        """Return the next of the rounds in which the finalists take turns; the plan is always one of them."""
        finalists = list(epoch.measured("confirm"))
        if self.site.planned in finalists[FINALISTS:]:
            finalists[FINALISTS - 1] = self.site.planned
        finalists = finalists[:FINALISTS]
        rounds = [[each.trial.setting for each in epoch.of("final")].count(setting) for setting in finalists]
        if len(finalists) < 2 or min(rounds) >= self.options.repeats:
            return None
        begins, setting = min(rounds) == max(rounds), finalists[rounds.index(min(rounds))]
        if not self._affords("final", *(finalists if begins else [setting])):
            return None
        return self._trial(setting, self._origin(setting), "final", "one of the best, against the others in turn")

    def _turns(self, epoch: Epoch) -> Trial | None:
        """Return the comparison of what the trials speak for with the plan, if that is to be decided."""
        found = None if epoch.of("turns") else pick(self.site, epoch)
        if found is None or found.planned is None or not found.is_contested or self.turns_s > self.left_for("turns"):
            return None
        rate = found.planned.rate * (found.chosen.rate / found.planned.rate) ** BETWEEN
        setting = found.chosen.setting
        why = "what the trials speak for against the plan, in turns"
        trial = self._trial(setting, self._origin(setting), "turns", why)
        return dataclasses.replace(trial, start_rate=rate, below=found.chosen.rate)

    def _affords(self, rung: str, *settings: Setting) -> bool:
        """Return whether trials of settings end within their rung's share of the budget, at the pace so far.

        Whatever is measured before, the turns must be left, and the shards.
        """
        options = self.options
        planned = [options.stages_s(each.trial.rung) for each in self.history]
        pace = costs.pace(self.history, planned, options.restart_s)
        changes_s = costs.change_s(self.history, settings, options.restart_s)
        needed = len(settings) * pace * options.stages_s(rung) + changes_s
        return self.spent_s + needed <= UNTIL[rung] * (options.budget_s - self.turns_s - self.cuts_s)

    def _origin(self, setting: Setting) -> str:
        return next(each.trial.origin for each in self.history if each.trial.setting == setting)

    def _trial(self, setting: Setting, origin: str, rung: str, why: str) -> Trial:
        epoch = self.epoch
        known = epoch.measured("final", "confirm") if rung == "final" else epoch.measured("explore", "again")
        best = max((told.rate for told in epoch.measured("explore").values()), default=0.0)
        predicted = self.predicted(setting)
        hopeful = rung == "explore" and origin in ("physics", "search") and best > 0
        return Trial(
            number=len(self.history) + 1,
            setting=setting,
            origin=origin,
            rung=rung,
            repeat=1 + sum(told.trial.setting == setting for told in epoch.of(rung)),
            stage_s=self.options.stage_s(rung),
            precision=PRECISION["again" if setting == self.site.single else rung],
            start_rate=known[setting].rate if setting in known else min(predicted, self._within_reach(setting)),
            must_carry=EARLY_STOP * best if hopeful else None,
            predicted=predicted,
            why=why,
        )

    def predicted(self, setting: Setting) -> float:
        """Return the knee to expect: that of physics, scaled to a measured one.

        With batches that is the plan's, where it forms batches too, otherwise the baseline's.
        """
        site, measured = self.calibrated, self._of_its_kind(setting)
        scale = site.predicted(measured.trial.setting) if measured else 0.0
        expected = site.predicted(setting)
        return expected * measured.rate / scale if measured and scale else expected

    def _within_reach(self, setting: Setting) -> float:
        """Return the highest rate to begin with: of batches, a multiple of the best that any batches carried."""
        if not setting.batches:
            return math.inf
        best_first = self.epoch.measured("explore").items()
        return LEAP * next((told.rate for other, told in best_first if other.batches), math.inf)

    def _of_its_kind(self, setting: Setting) -> Told | None:
        """Return the trial by which predictions are scaled."""
        plan = self.epoch.measured("explore").get(self.site.planned)
        both = setting.batches and self.site.planned.batches
        return plan if plan and both else self.epoch.baseline(self.site.single)
