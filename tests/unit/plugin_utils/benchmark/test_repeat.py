# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What of an earlier run is repeated, and which runs cannot be compared with."""

from __future__ import annotations

import copy

import benchmark_documents as documents
import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.repeat import repeat, stages

NONE_LEFT = "against: holds no valid stage to compare with; give a run with a knee or at one rate"


def stage(name, rate, duration_s=60, verdict="pass"):
    return {"name": name, "rate": rate, "verdict": verdict, "result": {"duration_s": duration_s}}


def before(*found, knee=None):
    return {"stages": list(found), "knee": knee and {"rate": knee}}


CONFIRMED = before(
    stage("double 1", 100.0, 10),
    stage("confirm 1", 100.0),
    stage("confirm 2", 102.0, verdict="fail"),
    stage("confirm 3", 100.0),
    stage("confirm 4", 100.0, verdict="invalid"),
    stage("confirm 5", 100.0),
    stage("confirm 6", 102.0, verdict="fail"),
    knee=100.0,
)


def refusal(function, *arguments):
    with pytest.raises(WishError) as refused:
        function(*arguments)
    return str(refused.value)


def test_a_knee_is_compared_by_all_valid_stages_at_its_rate():
    assert [each["name"] for each in stages(CONFIRMED)] == ["confirm 1", "confirm 3", "confirm 5"]
    assert repeat(simulated_team.asked(), CONFIRMED) == (100.0, 180.0)


def test_only_whole_blocks_count():
    assert repeat(simulated_team.asked(), before(stage("fixed", 5.0, 149))) == (5.0, 120.0)


def test_what_is_asked_for_goes_before_what_was():
    asked = simulated_team.asked(rate=7, duration="3m")
    assert repeat(asked, before(stage("fixed", 5.0, 150))) == (7.0, 180.0)


def test_a_run_of_other_stages_is_refused():
    assert refusal(stages, documents.shards()) == NONE_LEFT
    assert refusal(stages, before(stage("fixed", 5.0, verdict="invalid"))) == NONE_LEFT
    unfinished = copy.deepcopy(before(stage("fixed", 5.0)))
    unfinished["stages"][0]["result"] = None
    assert refusal(stages, unfinished) == NONE_LEFT


def test_a_run_that_is_too_short_is_refused():
    assert refusal(repeat, simulated_team.asked(), before(stage("fixed", 5.0, 119))) == (
        "against: has 90 s to compare with, and a comparison takes 120 s of each side; measure it again with a duration"
        " of 120s or longer"
    )


def test_a_time_that_is_too_short_is_refused():
    asked = simulated_team.asked(rate=5, duration="1m")
    assert refusal(repeat, asked, before(stage("fixed", 5.0, 150))) == (
        "duration: is 60 s, and a comparison takes 120 s of each side; give a longer one, or none for as long as the"
        " earlier run"
    )


def test_a_run_with_coarser_steps_than_a_second_is_refused():
    long = stage("fixed", 5.0, 7_000)
    long["result"]["step_s"] = 2
    assert refusal(repeat, simulated_team.asked(), before(long)) == (
        "against: has steps of 2 s, since it lasted over an hour, and a comparison takes seconds; measure it again for"
        " less than an hour"
    )


def test_a_run_is_compared_for_as_long_as_it_is_kept_second_by_second():
    # Three stages of 25 minutes, each of them in seconds; one of their length would not be.
    earlier = before(*(stage(f"confirm {number}", 100.0, 1_500) for number in (1, 2, 3)), knee=100.0)
    assert repeat(simulated_team.asked(), earlier) == (100.0, 3_570.0)
    assert repeat(simulated_team.asked(duration="3570s", rate=100), earlier) == (100.0, 3_570.0)
    assert refusal(repeat, simulated_team.asked(duration="1h", rate=100), earlier) == (
        "duration: is 3600 s, and a run is compared second by second, which are kept for an hour; give 3570s or less"
    )
