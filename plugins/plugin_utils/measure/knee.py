# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The search for the knee: the highest rate at which p99 keeps the objective.

The rate doubles until the objective breaks, and the bracket is halved down to 5 % by short stages, which go by p99
itself. From there on stages have full length and p99 its whole interval: the rate goes up and down by small steps until
one rate has passed three times and the next one has failed twice. A failure puts a rate out, however often it passed;
the one just above the knee gets a second look, since a lucky minute is no more likely than an unlucky one.
Nothing here sends a request: ``next`` says what to measure, ``tell`` takes what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..phrases import counted
from .series import seconds
from .statistics import NARROW, PERCENTILES, Percentiles, needed
from .steady import backlog
from .validity import ANSWERED, GENERATOR, SHORTEST_S, Remark

Kind = Literal["double", "halve", "bisect", "confirm"]
Verdict = Literal["pass", "fail", "invalid"]

# Where halving ends: the knee is to be known to 5 %, and short stages do not tell rates apart that lie closer.
BRACKET = 0.05
# The steps of full stages. Three passes in a row come about 3 % below the true knee, by the noise of a minute near
# saturation; with steps of a quarter of 5 % two thirds of what is left of the 5 % stay in hand.
STEP = 0.0125
# A climb takes two steps at a time until a rate fails: short stages rarely miss by more than three.
CLIMB = 2
# Steps down after a failure, by the full stages that there is time for: one with plenty; two with less than ten, where
# p99 itself is broken; three when time is left for few more than three. 4 % below a rate that fails half the time,
# three passes in a row are likely, and a rate that is confirmed is worth more than a narrow bracket.
DROP, DROP_IN_HASTE = 2, 3
PLENTY = 10
# Measurements that have to agree at one rate: a p99 that passes by luck in one of two does so thrice in one of eight.
CONFIRMATIONS = 3
# Failures that the next rate above has to show.
LOOKS = 2
# Requests and seconds of the stages that only find the way. Doubling needs p99 roughly; a bracket is halved by rates
# close to the knee, where more requests decide.
DOUBLING = (1_000, 10)
BISECTING = (5_000, 20)
# A stage that finds the way is not made longer than this for its requests, unless p99 cannot be claimed otherwise.
LONGEST_FINDING_S = 60
# A Poisson process is short of its mean by four standard deviations once in 30,000 stages: with this many expected
# requests those that p99 takes come.
LEAST_REQUESTS = math.ceil(needed(PERCENTILES["p99"]) + 4 * math.sqrt(needed(PERCENTILES["p99"])))
# A surplus on other numbers of requests, so that chance does not take them below.
SURPLUS = 1.05
# A search takes 15 to 20 stages; one that takes thrice as many goes in circles, as does one whose rates leave this.
MOST_STAGES = 60
HIGHEST = 10_000_000.0
# How often a stage that the host disturbed is repeated.
REPEATS = 2
# A server that does not keep up fills its clients with open requests, and a small load host then sends some late. A
# generator that was held up at a send was held up as often at a reply, so each late request stands for one more. If
# those that failed or were over the objective are still as many as were late, and 2 % of all (twice what p99 leaves
# out), the server alone broke it.
HELD_UP = 2
OVERLOADED = 0.02
# Seconds from one stage to the next, warm-up aside: connections, samples of the host, the way of the results.
BETWEEN_S = 3.0
LIMIT = (
    "the generator, not the server, is the limit at {rate:,.0f}/s: add hosts to tfserving_load, or use engine=h2load"
)


@dataclass(frozen=True)
class Stage:
    """One stage to measure: its rate a second and its seconds after the warm-up."""

    name: str
    kind: Kind
    rate: float
    seconds: int


@dataclass(frozen=True)
class Outcome:
    """What came of a stage.

    ``generator``: the load generator made it invalid. ``overloaded``: so it did, by requests that left late, but p99
    breaks the objective without them too. ``close``: only the interval of p99 breaks the objective, p99 itself keeps
    it.
    """

    verdict: Verdict
    why: str
    p99_us: int | None = None
    generator: bool = False
    overloaded: bool = False
    close: bool = False

    @property
    def of_server(self) -> Verdict:
        """The verdict on the server: one that is overloaded has failed, whatever the load on it was exactly."""
        return "fail" if self.overloaded else self.verdict

    @property
    def is_void(self) -> bool:
        """Return whether the stage tells nothing of the server."""
        return self.of_server == "invalid"


@dataclass(frozen=True)
class Knee:
    """The knee in requests a second, between the nearest rates that passed and failed; the worst p99 confirmed."""

    rate: float
    low: float
    high: float | None
    p99_us: int | None
    confirmed: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the knee as it stands in a document."""
        return dict(vars(self))


def passed(result: Mapping[str, Any], found: Percentiles, slo_p99_ms: float, remarks: Sequence[Remark] = ()) -> Outcome:
    """Return whether a stage keeps the objective, and why.

    It does if the upper end of the interval of p99 keeps it, nothing failed, at least 99 % of what was offered was
    answered, and no requests pile up.
    """
    invalid = [remark for remark in remarks if remark.invalidates]
    p99 = found.found.get("p99")
    us = p99.us if p99 else None
    if invalid:
        why = "; ".join(remark.text for remark in invalid)
        if all(remark.kind == "late" for remark in invalid) and _is_overloaded(result, slo_p99_ms):
            why = f"{why}; p99 breaks the objective without them too"
            return Outcome("invalid", why, us, generator=True, overloaded=True)
        return Outcome("invalid", why, us, generator=any(remark.kind in GENERATOR for remark in invalid))
    why = _broken(result, found) or backlog(seconds(result))
    if why:
        return Outcome("fail", why, us)
    if _high_ms(found) > slo_p99_ms:
        why = f"p99 may be as high as {_high_ms(found):.3g} ms, the objective is {slo_p99_ms:g} ms"
        return Outcome("fail", why, us, close=found.found["p99"].us <= slo_p99_ms * 1000)
    return Outcome("pass", f"p99 is at most {_high_ms(found):.3g} ms, the objective is {slo_p99_ms:g} ms", us)


def _is_overloaded(result: Mapping[str, Any], slo_p99_ms: float) -> bool:
    """Return whether p99 breaks the objective, whatever part late requests have in it."""
    answered = Histogram.from_json(result["histogram"])
    kept = answered.total * (1 - answered.share_over(slo_p99_ms * 1000))
    over = result["offered"] - kept - HELD_UP * result["late"]
    return bool(over > max(OVERLOADED * result["offered"], result["late"]))


def _broken(result: Mapping[str, Any], found: Percentiles) -> str:
    errors = sum(result["errors"].values())
    if errors:
        return f"{errors:,} of {result['offered']:,} requests failed"
    if result["ok"] < ANSWERED * result["offered"]:
        return f"{result['ok'] / result['offered']:.1%} of the offered requests were answered, less than {ANSWERED:.0%}"
    return "" if "p99" in found.found else found.withheld.get("p99", "p99 was not worked out")


def _high_ms(found: Percentiles) -> float:
    high = found.found["p99"].high
    return math.inf if high is None else high / 1000


class _Steps:
    """Rates in small steps up and down from where halving ended, each measured at full length.

    Without ``climbs`` they only go down: the generator cannot send more than the first.
    """

    def __init__(self, anchor: float, climbs: bool) -> None:
        self._anchor, self._climbs = anchor, climbs
        self._passes: dict[int, list[int]] = {}
        self._fails: dict[int, int] = {}
        self._drop = 1
        # After a second look that passed, those above get theirs before any rate is confirmed.
        self._upward = False

    def rate(self) -> float:
        """Return the rate to measure next."""
        return self._rate(self._next())

    def tell(self, rate: float, p99_us: int | None, drop: int = 1) -> None:
        """Take the p99 of a rate that passed, None for one that failed; then ``drop`` steps down is the next."""
        self._drop = drop
        number = round(math.log(rate / self._anchor) / math.log1p(STEP))
        if p99_us is None:
            self._fails[number] = self._fails.get(number, 0) + 1
            self._passes = {below: found for below, found in self._passes.items() if below < number}
            self._upward = False
        else:
            self._upward = self._fails.pop(number, 0) > 0
            self._passes.setdefault(number, []).append(p99_us)

    def best(self) -> tuple[float, list[int]] | None:
        """Return the highest rate that was confirmed, else that passed, with the p99 of each pass."""
        confirmed = [number for number, found in self._passes.items() if len(found) >= CONFIRMATIONS]
        number = max(confirmed or self._passes, default=None)
        return None if number is None else (self._rate(number), self._passes[number])

    def failed(self) -> float | None:
        """Return the lowest rate that failed."""
        return self._rate(min(self._fails)) if self._fails else None

    def confirmed(self) -> bool:
        """Return whether a rate has passed as often as it must, and the next one has failed as often."""
        return self._is_confirmed() and self._fails[min(self._fails)] >= LOOKS

    def left(self) -> int:
        """Return how many stages it takes at the least until a rate is confirmed."""
        passes = CONFIRMATIONS - len(self._passes.get(self._next(), ()))
        return max(passes, 0) + LOOKS - (max(self._fails.values()) if self._fails else 0)

    def _is_confirmed(self) -> bool:
        return bool(self._fails and self._passes) and len(self._passes[max(self._passes)]) >= CONFIRMATIONS

    def _next(self) -> int:
        if not self._fails:
            return max(self._passes) + CLIMB if self._passes and self._climbs else 0
        lowest = min(self._fails)
        if not self._passes:
            return lowest - self._drop
        up = self._upward or self._is_confirmed()
        return lowest if up and self._fails[lowest] < LOOKS else max(self._passes)

    def _rate(self, number: int) -> float:
        return float(self._anchor * (1 + STEP) ** number)


class Search:
    """The state of a search. Call ``next`` and ``tell`` in turn until ``next`` returns None; then ``knee`` has it.

    :param start: the rate of the first stage.
    :param budget_s: the time for the whole search; it ends with what is known when the next stage does not fit in.
    :param warmup_s: the warm-up before each stage, for the reckoning of time.
    :param least: the lowest rate that is of interest; the search does not go below.
    """

    def __init__(self, start: float, budget_s: float, warmup_s: float = 5.0, least: float = 0.1) -> None:
        self._start, self._least = max(start, least), least
        self._budget_s, self._aside_s = budget_s, warmup_s + BETWEEN_S
        # The highest rate that passed a short stage, the lowest that failed one, and the one the generator cannot send.
        self._low: float | None = None
        self._high: float | None = None
        self._ceiling: float | None = None
        self._steps: _Steps | None = None
        self._numbers: dict[Kind, int] = {}
        self._disturbed = 0
        self._spent_s = 0.0
        self.reason = ""
        """Why the search has ended; empty while it goes on."""

    def next(self) -> Stage | None:
        """Return the stage to measure next, or None when the search has ended."""
        if self.reason:
            return None
        stage = self._finding() or self._confirming()
        if self._spent_s + stage.seconds + self._aside_s > self._budget_s:
            self._end(self._out_of_time(stage))
            return None
        return stage

    def tell(self, stage: Stage, outcome: Outcome) -> None:
        """Take the outcome of a stage that ``next`` returned."""
        self._numbers[stage.kind] = self._numbers.get(stage.kind, 0) + 1
        self._spent_s += stage.seconds + self._aside_s
        if outcome.is_void and not outcome.generator:
            self._told_disturbed(outcome)
            return
        self._disturbed = 0
        if outcome.is_void:
            self._ceiling = min(stage.rate, self._ceiling or stage.rate)
        if stage.kind == "confirm":
            self._told_confirming(stage, outcome)
        else:
            self._told_finding(stage, outcome)
        if not self.reason and sum(self._numbers.values()) >= MOST_STAGES:
            self._end(f"{MOST_STAGES} stages confirmed no rate: latencies vary too much from one minute to the next")

    def knee(self) -> Knee | None:
        """Return the knee as far as it is known; None where no stage of full length has passed."""
        best = self._steps.best() if self._steps else None
        if not best or not self._steps:
            return None
        rate, p99_us = best
        failed = None if self._ceiling is not None else self._steps.failed()
        return Knee(rate, rate, failed, max(p99_us), len(p99_us), self.reason)

    def left_s(self) -> float:
        """Return an estimate of the seconds that the rest of the search takes."""
        if self.reason:
            return 0.0
        rate = (self._steps.rate() if self._steps else self._low) or self._start
        finding = 0.0 if self._steps else self._halvings() * (_length(BISECTING, rate) + self._aside_s)
        if not self._steps and self._high is None:
            # Nobody knows how often the rate will double; three more times is what a start at an eighth takes.
            finding += 3 * (_length(DOUBLING, rate) + self._aside_s)
        # Two of the steps fail, as a rule, before one is confirmed.
        stages = self._steps.left() if self._steps else CONFIRMATIONS + 2
        whole = finding + stages * (self._full_s(rate) + self._aside_s)
        return max(min(whole, self._budget_s - self._spent_s), 0.0)

    def _finding(self) -> Stage | None:
        """Return the next of the short stages; None when they have done their work, or confirming needs the time."""
        if self._steps:
            return None
        if self._low is None:
            rate = self._start if self._high is None else max(self._high / 2, self._least)
            return self._stage("double" if self._high is None else "halve", rate, _length(DOUBLING, rate))
        if self._ceiling is not None:
            return None
        if self._high is None:
            stage = self._stage("double", 2 * self._low, _length(DOUBLING, 2 * self._low))
        elif self._high > self._low * (1 + BRACKET):
            rate = math.sqrt(self._low * self._high)
            stage = self._stage("bisect", rate, _length(BISECTING, rate))
        else:
            return None
        reserved = CONFIRMATIONS * (max(SHORTEST_S, LEAST_REQUESTS / self._low) + self._aside_s)
        fits = self._spent_s + stage.seconds + self._aside_s + reserved <= self._budget_s
        return stage if fits else None

    def _confirming(self) -> Stage:
        if not self._steps:
            low = self._low or self._start
            closed = self._high is not None and self._high <= low * (1 + BRACKET)
            self._steps = _Steps(math.sqrt(low * self._high) if closed and self._high else low, self._ceiling is None)
        rate = self._steps.rate()
        return self._stage("confirm", rate, self._full_s(rate))

    def _stage(self, kind: Kind, rate: float, length: int) -> Stage:
        return Stage(f"{kind} {self._numbers.get(kind, 0) + 1}", kind, rate, length)

    def _full_s(self, rate: float) -> int:
        """Return the seconds of a full stage: of 10,000 requests, where the budget has the time."""
        stages = self._steps.left() if self._steps else CONFIRMATIONS
        share = (self._budget_s - self._spent_s) / stages - self._aside_s
        return _seconds(max(SHORTEST_S, min(NARROW * SURPLUS / rate, share)), rate)

    def _halvings(self) -> int:
        gap = math.log(self._high / self._low) if self._high and self._low else math.log(2)
        return max(math.ceil(math.log2(gap / math.log1p(BRACKET))), 0)

    def _told_disturbed(self, outcome: Outcome) -> None:
        self._disturbed += 1
        if self._disturbed > REPEATS:
            self._end(f"{self._disturbed} measurements in a row are invalid: {outcome.why}")

    def _told_finding(self, stage: Stage, outcome: Outcome) -> None:
        if outcome.verdict == "pass" or outcome.close:
            self._low = stage.rate
            if stage.rate >= HIGHEST:
                self._end(f"{stage.rate:,.0f}/s pass, which is more than any server answers: check the requests")
        elif outcome.is_void:
            if self._low is None:
                self._end(LIMIT.format(rate=stage.rate))
        elif stage.rate <= self._least:
            self._end(f"the objective is broken at {stage.rate:g}/s, the least rate asked for: {outcome.why}")
        else:
            self._high = stage.rate

    def _told_confirming(self, stage: Stage, outcome: Outcome) -> None:
        steps = self._steps
        if not steps:
            raise ValueError("a confirmation was told before it was asked for")
        steps.tell(stage.rate, (outcome.p99_us or 0) if outcome.verdict == "pass" else None, self._drop(stage, outcome))
        best, failed = steps.best(), steps.failed()
        if failed is not None and failed <= self._least:
            self._end(f"the objective is broken at {stage.rate:g}/s, the least rate asked for: {outcome.why}")
        elif best and (steps.confirmed() or (self._ceiling is not None and len(best[1]) >= CONFIRMATIONS)):
            self._end(self._found(best[0], failed))

    def _drop(self, stage: Stage, outcome: Outcome) -> int:
        """Return the steps down after a failure: more where p99 itself is broken, and where time gets short."""
        stages = (self._budget_s - self._spent_s) / (stage.seconds + self._aside_s)
        if stages < CONFIRMATIONS + 2:
            return DROP_IN_HASTE
        return 1 if outcome.close or stages >= PLENTY else DROP

    def _found(self, rate: float, failed: float | None) -> str:
        if self._ceiling is not None:
            return LIMIT.format(rate=self._ceiling)
        return f"{rate:,.4g}/s passed {CONFIRMATIONS} times, and {failed:,.4g}/s failed"

    def _out_of_time(self, stage: Stage) -> str:
        best = self._steps.best() if self._steps else None
        if not best:
            return (
                f"the time budget of {self._budget_s:g} s is too short: the next stage takes {stage.seconds} s for"
                f" {stage.rate * stage.seconds:,.0f} requests at {stage.rate:.3g}/s, and p99 takes"
                f" {needed(PERCENTILES['p99'])}; raise the budget"
            )
        failed = self._steps.failed() if self._steps else None
        above = f"{failed:,.4g}/s failed" if failed else "no higher rate failed"
        times = counted(len(best[1]), "time")
        return f"{best[0]:,.4g}/s passed {times} and {above}; the time budget of {self._budget_s:g} s ended the search"

    def _end(self, reason: str) -> None:
        self.reason = reason


def _length(least: tuple[int, int], rate: float) -> int:
    requests, shortest_s = least
    return _seconds(max(shortest_s, min(requests * SURPLUS / rate, LONGEST_FINDING_S)), rate)


def _seconds(wanted: float, rate: float) -> int:
    return math.ceil(max(wanted, LEAST_REQUESTS / rate) - 1e-9)
