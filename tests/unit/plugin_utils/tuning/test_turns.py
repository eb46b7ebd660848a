# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The best of the trials and the plan take turns, on a queue whose latencies are known."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import simulated_queue
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Compared, Failed, outcome_from_json
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.turns import Block, Turns, block_s, look_s

PLANNED, TUNED = "planned", "tuned"


def turns(seed=1, slo_us=50_000, rate=100.0, below=None):
    return Turns(SimpleNamespace(setting=TUNED, start_rate=rate, stage_s=30.0, below=below), PLANNED, slo_us, seed)


def held(means_s, found=None, rate=100.0):
    """Return what comes of turns where a request takes so long on average with each setting."""
    found, draw = found or turns(), random.Random(7)
    while (setting := found.next()) is not None:
        service = simulated_queue.exponential(draw, means_s[setting])
        found.tell(Block("pass", "", simulated_queue.stage(draw, rate, 30, service, 2)))
    return found.outcome(320)


def test_each_side_has_four_blocks_in_turns():
    found, order = turns(), []
    while (setting := found.next()) is not None:
        order.append(setting)
        found.tell(Block("pass", ""))
    assert (order.count(PLANNED), order.count(TUNED), found.seconds) == (4, 4, [])
    first, second = order[:4], order[4:]
    for four in (first, second):
        assert four == four[::-1]
        assert set(four) == {PLANNED, TUNED}


def test_a_faster_setting_is_better():
    outcome = held({PLANNED: 0.010, TUNED: 0.007})
    assert (outcome.verdict, outcome.keeps, outcome.blocks, outcome.seconds) == ("better", True, 4, 320)
    assert outcome.p99_us < outcome.planned_p99_us
    assert outcome.found["p99_ratio"]["high"] < 1
    assert outcome.sentence().startswith("in turns with the plan at 100 requests a second: better, p99 ")


def test_a_slower_setting_is_worse_and_the_same_is_no_difference():
    assert held({PLANNED: 0.007, TUNED: 0.010}).verdict == "worse"
    assert held({PLANNED: 0.010, TUNED: 0.010}).verdict == "no difference"


def test_what_is_better_may_still_be_over_the_objective():
    outcome = held({PLANNED: 0.010, TUNED: 0.007}, turns(slo_us=10_000))
    assert (outcome.verdict, outcome.keeps) == ("better", False)
    assert "and its upper bound is over the objective; " in outcome.sentence()


def test_an_invalid_block_is_repeated_until_there_are_too_many():
    found = turns()
    first = found.next()
    for _ in range(2):
        found.tell(Block("invalid", "the load hosts were busy"))
        assert (found.next(), found.seconds) == (first, [30.0] * 8)
    found.tell(Block("invalid", "the load hosts were busy"))
    assert found.next() is None
    assert found.outcome(90) == Failed("failed", "the load hosts were busy", 90)


@pytest.mark.parametrize(
    ("carries", "rate", "looks"),
    [(90, 100, [100, 100]), (110, 200, [100, 200, 200]), (210, 400, [100, 200]), (900, 400, [100, 200])],
    ids=["below", "first", "second", "all"],
)
def test_the_turns_are_held_where_the_plan_no_longer_keeps_the_objective(carries, rate, looks):
    found, looked = turns(below=800.0), []
    while found.is_looking:
        assert (found.next(), found.seconds[0]) == (PLANNED, 10.0)
        looked.append(found.rate)
        found.tell(Block("pass" if found.rate <= carries else "fail", ""))
    assert looked == pytest.approx(looks)
    assert found.rate == pytest.approx(rate)
    assert found.seconds == [30.0] * 8


@pytest.mark.parametrize(("last", "rate"), [("pass", 400), ("fail", 200)])
def test_one_look_that_fails_decides_nothing(last, rate):
    found = turns(below=800.0)
    for verdict in ("fail", "pass", "fail", last):
        assert (found.is_looking, found.next()) == (True, PLANNED)
        found.tell(Block(verdict, ""))
    assert (found.is_looking, found.rate) == (False, pytest.approx(rate))


def test_the_looks_that_are_left_are_told_at_their_most():
    found, left = turns(below=800.0), []
    for verdict in ("fail", "pass", "fail", "pass"):
        left.append(found.seconds.count(10.0))
        found.tell(Block(verdict, ""))
    assert (left, found.seconds) == ([4, 3, 2, 1], [30.0] * 8)


def test_a_look_that_is_invalid_is_repeated_and_decides_nothing():
    found = turns(below=800.0)
    found.tell(Block("invalid", "the load hosts were busy"))
    assert (found.is_looking, found.rate) == (True, 100)
    for _ in range(2):
        found.tell(Block("invalid", "the load hosts were busy"))
    assert found.outcome(90) == Failed("failed", "the load hosts were busy", 90)


@pytest.mark.parametrize("below", [90.0, 104.0])
def test_a_setting_without_room_above_the_plan_is_compared_without_a_look(below):
    assert not turns(below=below).is_looking


def test_the_turns_are_held_where_the_setting_has_room():
    found = turns(below=112.0)
    found.tell(Block("pass", ""))
    assert (found.is_looking, found.rate) == (False, pytest.approx(103.85, abs=0.01))


def test_turns_that_end_before_all_blocks_are_measured_say_nothing():
    found = turns()
    found.tell(Block("pass", ""))
    found.end("out of time")
    assert found.next() is None
    assert found.outcome(40) == Failed("failed", "out of time", 40)


@pytest.mark.parametrize(("rate", "seconds"), [(100.0, 10.0), (20.0, 27.25), (5.0, 30.0)])
def test_a_look_gets_the_requests_that_p99_takes_but_no_more_time_than_a_block(rate, seconds):
    assert look_s(rate, 30.0) == pytest.approx(seconds)


@pytest.mark.parametrize(("rate", "seconds"), [(100.0, 30.0), (2.0, 68.125)])
def test_a_side_gets_the_requests_that_p99_takes(rate, seconds):
    assert block_s(rate, 30.0) == seconds


def test_the_journal_gives_it_back():
    outcome = held({PLANNED: 0.010, TUNED: 0.007})
    assert isinstance(outcome, Compared)
    assert outcome_from_json(outcome.to_json()) == outcome
