# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What benches of servers make of knees, counters and stages; what runs servers is tried by running a bench."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest

BENCHES = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCHES.parents[1] / "collections"))

import adaptive  # noqa: E402
import planned  # noqa: E402
from support import knees, local_load  # noqa: E402
from support.local_load import part  # noqa: E402


def knee(rate, low=None, high=None):
    return part("plugin_utils.tuning.trial").Measured(rate, low or rate, high or rate, 40_000.0, 45_000.0, 1.0)


def failed(why="died"):
    return part("plugin_utils.tuning.trial").Failed("failed", why, 1.0)


class KnownServer:
    """Answers like benchmark.load.Load: p99 keeps the objective up to its knee."""

    slo_ms = 50.0

    def __init__(self, knee):
        self.knee, self.rates = knee, []

    def stage(self, _name, rate, _seconds, _left_s):
        self.rates.append(rate)
        verdict = "pass" if rate <= self.knee else "fail"
        p99 = SimpleNamespace(us=40_000, low=39_000, high=41_000)
        outcome = part("plugin_utils.measure.knee").Outcome(verdict, "", 40_000)
        return SimpleNamespace(outcome=outcome, percentiles=SimpleNamespace(found={"p99": p99}))


@pytest.mark.parametrize("start", [200.0, 970.0, 4000.0])
def test_a_knee_is_found_to_two_per_cent_wherever_the_search_begins(start):
    found = knees.find(KnownServer(1000.0), "turn", start, 15.0)
    assert found.low <= 1000.0 < found.high <= found.low * 1.02


def test_a_rate_that_passed_already_is_not_measured_again():
    server = KnownServer(1000.0)
    carries = part("plugin_utils.tuning.bracket").Stage(900.0, "pass", "", 40_000, 39_000, 41_000)
    assert knees.find(server, "grid", 900.0, 5.0, "explore", carries).rate <= 1000.0
    assert min(server.rates) > 900.0


def test_the_ends_of_a_ratio_have_one_side_at_its_best_and_the_other_at_its_worst():
    upper, lower = [knee(200, 190, 210), knee(220, 215, 230)], [knee(100, 95, 105), knee(110, 105, 120)]
    assert knees.ratio(upper, lower) == (2.0, 190 / 120, 230 / 95)


def test_one_lucky_turn_of_three_does_not_move_the_middle():
    lucky = [knee(2025), knee(1425), knee(1453)]
    assert knees.ratio(lucky, [knee(1479)], median)[0] == 1453 / 1479
    assert knees.shown(lucky, median).startswith("1453 (")


@pytest.mark.parametrize("missing", [knee(0.0), failed()])
def test_there_is_no_ratio_where_a_turn_found_no_knee(missing):
    assert knees.ratio([knee(100), missing], [knee(50)]) is None
    assert knees.ratio([knee(100)], [missing]) is None
    assert knees.ratio([], [knee(100)]) is None


def test_knees_are_shown_with_what_passed_and_failed_and_a_missing_one_with_its_reason():
    assert knees.shown([knee(100, 95, 105), knee(110, 108, 120)]) == "105 (95 - 120)"
    assert knees.shown([knee(100), failed("out of memory")]) == "none (out of memory)"
    assert knees.shown([knee(0.0)]) == "none (the objective is kept at no rate)"


def test_the_report_of_planned_has_the_ratio_its_ends_and_the_target():
    compared = SimpleNamespace(turns={"default": [knee(100), knee(105)], "planned": [knee(240), knee(250)]}, invalid=[])
    shown = planned.report("rest", {"dense": compared})
    assert "2.39 (2.29 - 2.50)" in shown
    assert "2.39 (2.38-2.40)" in shown
    assert "at least 2.1: met" in shown


def test_a_batch_is_what_the_batcher_ran_without_what_pads_it():
    names = (adaptive.ROWS, adaptive.RUNS, adaptive.PADDING)
    before, after = dict(zip(names, (1000.0, 100.0, 200.0))), dict(zip(names, (1700.0, 150.0, 400.0)))
    assert adaptive.mean_batch(before, after) == 10.0
    assert adaptive.mean_batch(before, before) is None


def judged(ok, offered=1000, errors=None, p50_us=5000):
    histogram = SimpleNamespace(total=ok, quantile=lambda _share: p50_us)
    p99 = SimpleNamespace(us=9000, low=8000, high=11_000)
    return SimpleNamespace(
        entry={"result": {"ok": ok, "offered": offered, "errors": errors or {}}},
        outcome=SimpleNamespace(verdict="pass", why=""),
        histogram=histogram,
        percentiles=SimpleNamespace(found={"p99": p99}),
    )


@pytest.mark.parametrize(
    ("stage", "overloaded"),
    [
        (judged(1000), False),
        (judged(980), True),
        (judged(995, errors={"503": 5}), True),
        (judged(1000, p50_us=60_000), True),  # all answered, by a queue that grows
    ],
)
def test_a_server_is_overloaded_where_requests_fail_stay_out_or_mostly_miss_the_objective(stage, overloaded):
    assert adaptive.point(100.0, 2.0, stage).overloaded is overloaded


def test_a_side_that_was_overloaded_is_so_for_all_higher_loads():
    side = SimpleNamespace(points=[adaptive.point(10, 1.25, judged(1000)), adaptive.point(20, None, judged(900))])
    assert [adaptive.cell(side, number) for number in range(3)] == ["1.2; 5.0; 9.0 (8-11)", "overloaded", "overloaded"]


def test_a_stage_is_looked_for_when_it_should_be_over_and_often_from_then_on(monkeypatch):
    now, naps = [100.0], []

    def sleep(seconds):
        naps.append(round(seconds, 3))
        now[0] += seconds

    monkeypatch.setattr(local_load, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    nap = local_load._until_over({"start_in_s": 0.5, "warmup_s": 1.0, "duration_s": 10.0})
    for _ in range(5):
        nap(1.0)
    assert naps == [5.0, 5.0, 1.8, 0.1, 0.1]


def test_every_program_says_how_long_it_takes():
    """Each prints figures.takes() before it begins: nobody should wait for hours unawares."""
    for program in BENCHES.glob("[!_]*.py"):
        calls = [node.func for node in ast.walk(ast.parse(program.read_text())) if isinstance(node, ast.Call)]
        assert any(isinstance(call, ast.Attribute) and call.attr == "takes" for call in calls), program.name
