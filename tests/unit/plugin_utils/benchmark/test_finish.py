# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a benchmark: what the host told, the comparison and the verdict."""

from __future__ import annotations

import copy

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import conduct, document
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.course import Course
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.finish import finished
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.load import Load
from simulated_team import SimulatedTeam, sample


def run(team=None, **given):
    team = team or SimulatedTeam(0.02, 0.0, exponential=True)
    given = given or {"rate": 20, "duration": "150s"}
    asked, sent, target = simulated_team.asked(**given), simulated_team.requests(**given), simulated_team.target()
    found = conduct.begun(asked, target, sent, team.names)
    Course(Load(asked, target, sent.bodies, team, [4], lambda line: None), found, lambda kept: None, None).run()
    return found


FIXED = run()
SLOWER = run(SimulatedTeam(0.03, 0.0, exponential=True))
FEW = run(SimulatedTeam(), rate=1, duration="150s")
BEGAN = simulated_team.BEGAN


def done(found, samples=(), before=None, against="before.json", despite=False):
    whole = finished(copy.deepcopy(found), samples, before, against, despite)
    assert document.checked(whole, "document") == whole
    return whole


QUIET = [sample(at) for at in range(156)]


def test_a_run_on_a_quiet_host_is_valid():
    whole = done(FIXED, QUIET)
    assert whole["verdict"] == "valid"
    assert whole["events"] == []
    assert len(whole["host_samples"]) == 156
    assert whole["stages"][0]["host"] == {
        "throttled_us": 0,
        "psi_cpu_some_us": 0,
        "steal_share": 0.0,
        "foreign_cpu_share": 0.0,
    }


def test_without_samples_nothing_is_known_of_the_host():
    whole = done(FIXED)
    assert set(whole["stages"][0]["host"].values()) == {None}
    assert whole["verdict"] == "valid"


def test_a_server_that_was_restarted_meanwhile_makes_the_run_invalid():
    samples = [*QUIET[:30], *(dict(each, pid=8, started=2) for each in QUIET[30:])]
    whole = done(FIXED, samples)
    assert (whole["verdict"], whole["stages"][0]["verdict"]) == ("invalid", "invalid")
    assert whole["stages"][0]["why"] == "the server was restarted during the measurement"
    assert [(event["kind"], event["at"]) for event in whole["events"]] == [("restart", BEGAN + 30)]


def test_a_restart_before_the_stage_does_not_count():
    samples = [sample(-10, pid=3, started=0), *QUIET]
    assert done(FIXED, samples)["stages"][0]["verdict"] == FIXED["stages"][0]["verdict"]


def test_a_second_of_errors_is_an_event():
    with_errors = run(SimulatedTeam(ok=lambda number: not 500 < number < 520))
    (event,) = done(with_errors)["events"]
    failed, _, rest = event["text"].partition(" of ")
    assert event["kind"] == "error burst"
    assert 0 < int(failed) <= 19
    assert rest.endswith(" requests of a second failed")
    assert BEGAN < event["at"] < BEGAN + 155


def test_a_knee_rests_on_its_confirmations():
    found = run(SimulatedTeam(0.005, 0.0, exponential=True), budget="10m")
    found["stages"][0]["verdict"] = "invalid"
    assert done(found)["verdict"] == "valid"
    next(stage for stage in found["stages"] if stage["name"].startswith("confirm"))["verdict"] = "invalid"
    assert done(found)["verdict"] == "invalid"


def test_a_run_that_ended_before_its_first_stage_is_invalid():
    assert done(dict(FIXED, stages=[]))["verdict"] == "invalid"


def test_a_server_does_not_differ_from_itself():
    found = done(FIXED, before=FIXED)["comparison"]
    assert (found["verdict"], found["same_plan"], found["against"]) == ("no difference", True, "before.json")
    assert found["differences"] == []
    assert found["p99_ratio"]["low"] <= 1 <= found["p99_ratio"]["high"]


def test_a_server_that_is_half_as_fast_again_is_worse():
    found = done(SLOWER, before=FIXED)["comparison"]
    assert found["verdict"] == "worse"
    assert found["p99_ratio"]["low"] > 1


def other_plan():
    other = copy.deepcopy(SLOWER)
    other["conditions"]["plan_digest"] = "e" * 64
    return other


def test_another_plan_is_not_compared_silently():
    found = done(other_plan(), before=FIXED)["comparison"]
    assert (found["verdict"], found["same_plan"], found["p99_ratio"]) == ("not comparable", False, None)
    assert found["reason"].startswith("not compared, since the plan: ddd")
    assert found["reason"].endswith("; compare all the same with -e despite_differences=true")


def test_another_plan_is_compared_on_the_users_word():
    found = done(other_plan(), before=FIXED, despite=True)["comparison"]
    assert (found["verdict"], found["same_plan"], len(found["differences"])) == ("worse", False, 1)


def test_too_few_requests_are_not_comparable():
    found = done(FEW, before=FEW)["comparison"]
    assert found["verdict"] == "not comparable"
    assert found["reason"].startswith("a comparison of p99 takes at least 459 requests a side, and there are 1")


def test_another_rate_is_a_difference():
    found = done(run(rate=25, duration="150s"), before=FIXED)["comparison"]
    assert (found["verdict"], found["differences"]) == ("not comparable", ["the rate: 20/s before, 25/s now"])


def test_a_knee_is_compared_at_its_rate():
    team = SimulatedTeam(0.005, 0.0, exponential=True)
    before = run(team, budget="20m")
    after = run(team, rate=before["knee"]["rate"], duration="3m")
    found = done(after, before=before)["comparison"]
    assert (found["verdict"], found["differences"]) == ("no difference", [])


def test_a_run_without_stages_is_not_compared():
    found = done(dict(FIXED, stages=[]), before=FIXED)["comparison"]
    assert found["verdict"] == "not comparable"
    assert found["reason"] == "this run was interrupted before it measured anything"


def test_an_invalid_run_is_not_compared():
    samples = [*QUIET[:30], *(dict(each, pid=8, started=2) for each in QUIET[30:])]
    found = done(FIXED, samples, before=FIXED)["comparison"]
    assert found["verdict"] == "not comparable"
    assert found["reason"] == "this run is invalid: the server was restarted during the measurement"


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_an_interrupted_search_stays_readable(stages):
    found = run(SimulatedTeam(0.01, 0.0, exponential=True), budget="3m")
    whole = done(dict(found, stages=found["stages"][:stages], knee=None), QUIET)
    assert whole["verdict"] == "invalid"
