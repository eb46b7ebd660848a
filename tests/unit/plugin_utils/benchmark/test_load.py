# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Load on a simulated server, and the verdict on it."""

from __future__ import annotations

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.load import Load, failures, judge
from simulated_team import SimulatedTeam


def load(team, told=None, slo_ms=50.0, **given):
    asked, sent = simulated_team.asked(**given), simulated_team.requests(**given)
    tell = (lambda line: None) if told is None else told.append
    return Load(asked, simulated_team.target(slo_ms=slo_ms), sent.bodies, team, [4] * len(team.names), tell)


def stage(team, rate=20.0, **more):
    return load(team, **more).stage("fixed", rate, 60, lambda: 65.0)


def test_a_load_host_gets_the_bodies_of_one_protocol_and_only_what_it_needs_of_the_target():
    team = SimulatedTeam()
    stage(team, protocol="rest")
    (spec,) = team.specs
    assert set(spec["target"]) == {"host", "grpc", "rest", "tls", "metrics"}
    assert all(request["rest"] and request["grpc"] is None for request in spec["requests"])


def test_each_stage_has_arrivals_of_its_own():
    team = SimulatedTeam()
    both = load(team)
    for _turn in range(2):
        both.stage("fixed", 20.0, 60, lambda: 65.0)
    assert team.specs[0]["seed"] != team.specs[1]["seed"]


def test_a_rate_that_keeps_the_objective_passes():
    judged = stage(SimulatedTeam())
    assert judged.outcome.verdict == judged.entry["verdict"] == "pass"
    assert judged.histogram.total == judged.entry["result"]["ok"]


def test_a_slower_server_fails():
    judged = stage(SimulatedTeam(fixed_s=0.03), slo_ms=20)
    assert judged.entry["verdict"] == "fail"
    assert judged.entry["why"].endswith("the objective is 20 ms")


def test_one_failed_request_fails_a_stage():
    judged = stage(SimulatedTeam(ok=lambda number: number != 500))
    assert judged.entry["verdict"] == "fail"
    assert judged.entry["why"].startswith("1 of 1,")


def test_a_busy_generator_makes_a_stage_invalid_and_its_problems_are_remarks():
    result = dict(stage(SimulatedTeam()).entry["result"], cpu=[0.9], problems=["a sentence"])
    judged = judge("fixed", result, 50.0)
    assert (judged.entry["verdict"], judged.outcome.generator) == ("invalid", True)
    assert judged.entry["remarks"][-1] == "a sentence"


def test_the_first_requests_tell_how_long_one_takes():
    assert load(SimulatedTeam(fixed_s=0.02, item_s=0.005)).first_latency_s() == pytest.approx(0.025, rel=0.01)


def test_an_instance_that_answers_none_of_them_is_refused():
    with pytest.raises(WishError) as refused:
        load(SimulatedTeam(ok=lambda number: False)).first_latency_s()
    said = str(refused.value)
    assert said.startswith("instance: answers none of the first requests (")
    assert said.endswith(" UNAVAILABLE); look at its log, and at the requests")


def test_failures_are_named_by_how_often_they_occur():
    assert failures({"errors": {"timeout": 2, "HTTP 503": 1500}}) == "1,500 HTTP 503, 2 timeout"
    assert failures({"errors": {}}) == "it sent none"


def test_the_generator_is_calibrated_and_that_is_told():
    told = []
    assert load(SimulatedTeam(), told).calibrated()["protocols"] == simulated_team.PROTOCOLS
    assert told == ["  calibrating the load generator"]
