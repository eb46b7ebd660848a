# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The load on one instance: any rate for any time, from all load hosts together, and the judged result of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..measure import knee, statistics, validity
from ..phrases import counted
from . import progress_line, stage, tls
from .bodies import Request
from .options import Options
from .requests import carried
from .team import Team

# The rate of the first requests, of which a search learns how long one takes.
FIRST_RATE = 5.0
FIRST_S = 4.0
# Remarks that a longer measurement would not have.
OF_LENGTH = frozenset({"short", "wide"})


@dataclass(frozen=True)
class Judged:
    """A stage that has run: its entry in the document, and the verdict on it."""

    entry: dict[str, Any]
    outcome: knee.Outcome
    percentiles: statistics.Percentiles

    @property
    def histogram(self) -> Histogram:
        """The latencies of its answered requests."""
        return Histogram.from_json(self.entry["result"]["histogram"])


@dataclass
class Load:
    """Sends load and judges what comes back. ``cores`` has the number of CPUs of each load host."""

    asked: Options
    target: Mapping[str, Any]
    requests: Sequence[Request]
    team: Team
    cores: Sequence[int]
    tell: Callable[[str], None]
    _stages: int = field(default=0, init=False)
    _tls: dict[str, Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Read what proves a server with TLS, and its callers. Raises WishError."""
        if self.target["secured"]:
            self._tls = tls.described(self.asked)

    @property
    def slo_ms(self) -> float:
        """The objective of the instance for p99, in ms."""
        return float(self.target["slo_ms"])

    def calibrated(self) -> dict[str, Any]:
        """Return what the generator reaches against a stub, on the first load host; refuse a rate beyond it."""
        self.tell("  calibrating the load generator")
        found = self.team.calibrate()
        self._require_able(found["protocols"].get(self.asked.protocol) or {})
        return found

    def _require_able(self, calibrated: Mapping[str, Any]) -> None:
        """Refuse a rate that the load hosts cannot send even if they do nothing else."""
        a_core = calibrated.get("requests_per_s_a_core")
        if self.asked.engine != "own" or not self.asked.rate or not a_core:
            return
        cores = sum(min(count, self.asked.processes or count) for count in self.cores)
        if self.asked.rate > cores * a_core:
            most = f"{counted(cores, 'CPU')} of the load hosts send at most {progress_line.rate(cores * a_core)}"
            problem = f"is {progress_line.rate(self.asked.rate)}, and {most}"
            raise WishError("rate", problem, "add hosts to tfserving_load, or use engine=h2load")

    def stage(
        self,
        name: str,
        rate: float,
        seconds: float,
        left_s: Callable[[], float],
        requests: Sequence[Request] | None = None,
        *,
        is_part: bool = False,
    ) -> Judged:
        """Hold a rate (requests/s) for a time, tell the progress and the verdict, and return both.

        With ``is_part`` nothing is remarked of its length, since it is not the whole measurement.
        """
        self._stages += 1
        target = {**{name: self.target[name] for name in ("host", "grpc", "rest", "metrics")}, "tls": self._tls}
        wanted = self.requests if requests is None else requests
        sent = carried(wanted, self.asked.protocol)
        specs = stage.specs(self.asked, target, sent, rate, seconds, self.cores, self.asked.seed + self._stages)
        whole_s = self.asked.warmup_s + seconds + self.asked.timeout_s
        show = progress_line.Teller(self.tell).of(name, rate, left_s)
        result = stage.of_calls(self.team.run(specs, whole_s, show), wanted[0].get("copies", 1))
        judged = judge(name, result, self.slo_ms, OF_LENGTH if is_part else frozenset())
        self.tell(progress_line.verdict(judged.entry))
        return judged

    def first_latency_s(self) -> float:
        """Return how long a request takes on an idle instance, in seconds, the median of a few.

        Raises WishError if none of them is answered: no load would tell anything.
        """
        few = self.stage("first requests", FIRST_RATE, FIRST_S, lambda: FIRST_S)
        answered = few.histogram
        if not answered.total:
            problem = f"answers none of the first requests ({failures(few.entry['result'])})"
            raise WishError("instance", problem, "look at its log, and at the requests")
        return answered.quantile(0.5) / 1e6


def failures(result: Mapping[str, Any]) -> str:
    """Return the errors of a stage in words, the most frequent first."""
    ranked = sorted(result["errors"].items(), key=lambda each: -each[1])
    return ", ".join(f"{count:,} {name}" for name, count in ranked) or "it sent none"


def judge(name: str, result: stage.Result, slo_ms: float, but: frozenset[str] = frozenset()) -> Judged:
    """Return the entry of a stage in the document and the verdict on it; ``but`` are kinds of remarks to leave out."""
    errors = sum(result["errors"].values())
    found = statistics.percentiles(Histogram.from_json(result["histogram"]), errors)
    remarks = [remark for remark in validity.judge(result) if remark.kind not in but]
    outcome = knee.passed(result, found, slo_ms, remarks)
    entry = {
        "name": name,
        "rate": result["rate"],
        "verdict": outcome.verdict,
        "why": outcome.why,
        "result": result,
        "percentiles": found.to_json(),
        "remarks": [remark.text for remark in remarks] + list(result["problems"]),
        "host": None,
    }
    return Judged(entry, outcome, found)
