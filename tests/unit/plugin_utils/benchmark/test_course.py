# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole benchmarks of a simulated server, of which the knee is known."""

from __future__ import annotations

import copy
import math

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import conduct, course, document
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.course import Course
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.load import Load
from simulated_team import SimulatedTeam

# Exponential service of 10 ms: the time in the system of M/M/1 is exponential as well, so that p99 is 200 ms where
# ln(100) / (100 - rate) = 0.2 s.
MEAN_S, SLO_MS = 0.01, 200.0
KNEE = 1 / MEAN_S - math.log(100) / (SLO_MS / 1000)


class Bench:
    """A course on a simulated team, with what it has told and kept."""

    def __init__(self, team, before=None, **given):
        self.team, self.told, self.kept = team, [], []
        asked, sent = simulated_team.asked(**given), simulated_team.requests(**given)
        target = simulated_team.target(slo_ms=SLO_MS)
        self.load = Load(asked, target, sent.bodies, team, [4] * len(team.names), self.told.append)
        self.document = conduct.begun(asked, target, sent, team.names)
        Course(self.load, self.document, self._keep, before).run()

    def _keep(self, kept):
        self.kept.append(copy.deepcopy(kept))

    @property
    def names(self):
        return [stage["name"] for stage in self.document["stages"]]


def busy(**more):
    return SimulatedTeam(MEAN_S, 0.0, exponential=True, **more)


def test_a_search_finds_the_knee_of_a_queue():
    bench = Bench(busy(), budget="1h")
    knee = bench.document["knee"]
    assert knee["rate"] == pytest.approx(KNEE, rel=0.05)
    assert knee["confirmed"] >= 3
    assert knee["rate"] < knee["high"]
    assert knee["p99_us"] <= SLO_MS * 1000
    assert document.checked(bench.document, "document") == bench.document


def test_the_document_is_kept_after_each_stage():
    bench = Bench(busy(), budget="10m")
    assert [len(kept["stages"]) for kept in bench.kept] == list(range(1, len(bench.names) + 1))
    for kept in bench.kept:
        assert document.checked(kept, "document")["knee"] is None


def test_a_search_begins_at_a_rate_that_the_server_bears():
    bench = Bench(busy(), budget="3m")
    first = bench.document["stages"][0]
    assert (first["name"], first["verdict"]) == ("double 1", "pass")
    # 0.4 of what one request after another would make; the median of an exponential time is ln(2) of its mean.
    assert first["rate"] == pytest.approx(0.4 / (MEAN_S * math.log(2)), rel=0.5)


def test_a_search_doubles_less_often_than_from_a_tenth(monkeypatch):
    def doubled(begin):
        monkeypatch.setattr(course, "BEGIN", begin)
        return sum(name.startswith("double") for name in Bench(busy(), budget="10m").names)

    assert doubled(course.BEGIN) + 2 == doubled(0.1)


def test_an_objective_that_breaks_at_the_first_rate_is_looked_for_below_it():
    # A call of 100 ms: at 0.4 of its capacity a hundredth waits for more than another one.
    first, second = Bench(SimulatedTeam(0.099, 0.001), budget="15m").document["stages"][:2]
    assert (first["name"], first["verdict"], second["name"]) == ("double 1", "fail", "halve 1")
    assert second["rate"] == pytest.approx(first["rate"] / 2)


def test_a_search_that_finds_nothing_says_why():
    # Every tenth request fails, so no rate is good enough.
    bench = Bench(busy(ok=lambda number: number % 10 > 0), budget="2m")
    assert bench.document["knee"] is None
    assert len(bench.document["remarks"]) == 1
    assert bench.document["remarks"][0].startswith("no rate was found: ")


def test_a_server_that_answers_nothing_gets_no_load():
    with pytest.raises(WishError) as refused:
        Bench(busy(ok=lambda number: False))
    said = str(refused.value)
    assert said.startswith("instance: answers none of the first requests (")
    assert said.endswith(" UNAVAILABLE); look at its log, and at the requests")


def test_one_rate_is_held_as_long_as_asked():
    bench = Bench(busy(), rate=20, duration="90s")
    (stage,) = bench.document["stages"]
    assert (bench.document["kind"], stage["name"], stage["rate"]) == ("fixed", "fixed", 20.0)
    assert stage["result"]["duration_s"] == 90
    assert document.checked(bench.document, "document") == bench.document


def test_one_rate_without_a_duration_is_held_as_long_as_a_comparison_takes():
    bench = Bench(busy(), rate=20)
    assert bench.document["stages"][0]["result"]["duration_s"] == 120


def test_several_load_hosts_share_the_rate():
    bench = Bench(busy(names=["load-1", "load-2"]), rate=20, duration="60s")
    assert [spec["rate"] for spec in bench.team.specs if spec["duration_s"] == 60] == [10.0]
    assert bench.document["stages"][0]["rate"] == 20.0


def test_a_comparison_repeats_the_rate_and_the_time_of_the_earlier_run():
    before = Bench(busy(), rate=30, duration="150s").document
    bench = Bench(busy(), before=before)
    assert (bench.document["kind"], bench.names) == ("fixed", ["fixed"])
    assert bench.document["stages"][0]["rate"] == 30
    assert bench.document["stages"][0]["result"]["duration_s"] == 150


def test_a_comparison_takes_another_time_where_it_is_asked_for():
    before = Bench(busy(), rate=30, duration="150s").document
    bench = Bench(busy(), before=before, against="before.json", duration="2m")
    assert bench.document["stages"][0]["result"]["duration_s"] == 120


def test_progress_and_verdicts_are_told():
    told = Bench(busy(), rate=20, duration="60s").told
    assert any(line.startswith("  fixed (65 of 65 s): 20/s offered, 20/s answered, p99 0.9 ms so far") for line in told)
    assert told[-1].startswith("  fixed: 20/s offered, ")
    assert "pass, p99 is at most" in told[-1]
