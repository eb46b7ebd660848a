# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The instance is found in the plan in force, and what cannot be measured is refused before any load is sent."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.target import by_side, target, unreachable
from planner_cases import CPU_HOST, instance
from planner_cases import plan as planned

HEALTHY = [{"name": "ranker", "problem": ""}]


def asked(**more):
    return vars(options.read({"instance": "ranker", **more}))


def plan(**more):
    return planned(CPU_HOST, [instance(**more)])


def refusal(*arguments):
    with pytest.raises(WishError) as refused:
        target(*arguments)
    return str(refused.value)


def test_the_plan_in_force_says_where_the_instance_is_called():
    found = target(asked(), plan(slo_p99_ms=40), HEALTHY, {}, "10.0.0.5", "gpu-a")
    assert {key: found[key] for key in ("host", "grpc", "rest", "model", "slo_ms", "metrics")} == {
        "host": "10.0.0.5",
        "grpc": 8500,
        "rest": 8501,
        "model": "ranker",
        "slo_ms": 40,
        "metrics": "/monitoring/prometheus/metrics",
    }


def test_the_objective_is_the_wished_one_or_the_profiles_or_the_command_lines():
    assert target(asked(), plan(profile="latency"), HEALTHY, {}, "h", "gpu-a")["slo_ms"] == 50
    assert target(asked(slo=7), plan(slo_p99_ms=40), HEALTHY, {}, "h", "gpu-a")["slo_ms"] == 7


def test_a_plan_that_records_no_objective_asks_for_one():
    old = plan()
    del old["instances"][0]["objective_p99_ms"]
    assert refusal(asked(), old, HEALTHY, {}, "h", "gpu-a") == (
        "slo: the plan of ranker records no objective; give one in ms with -e slo=50"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            [asked(), {}, HEALTHY, {}, "h", "gpu-a"],
            "host: gpu-a has no plan in force, so nothing of the fleet serves there; run site.yml first",
        ),
        (
            [asked(instance="rank"), plan(), HEALTHY, {}, "h", "gpu-a"],
            "instance: rank is not in the plan in force on gpu-a; did you mean 'ranker'?",
        ),
        (
            [asked(instance="zzz"), plan(), HEALTHY, {}, "h", "gpu-a"],
            "instance: zzz is not in the plan in force on gpu-a; it has: ranker; run site.yml if zzz is new",
        ),
        (
            [asked(model="digits"), plan(), HEALTHY, {}, "h", "gpu-a"],
            "model: digits is not served by the instance ranker; it has: ranker",
        ),
        (
            [asked(), plan(), [{"name": "ranker", "problem": "the unit is failed"}], {}, "h", "gpu-a"],
            "instance: ranker on gpu-a does not serve: the unit is failed; run site.yml first",
        ),
        (
            [asked(), plan(), [], {}, "h", "gpu-a"],
            "instance: ranker on gpu-a does not serve: its state is not known; run site.yml first",
        ),
        (
            [asked(), plan(), HEALTHY, {"plan_digest": None}, "h", "gpu-a"],
            "instance: ranker on gpu-a runs without the mark of its unit, so its settings are not known; run site.yml"
            " first",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(given, sentence):
    assert refusal(*given) == sentence


def both(**more):
    """Return what is known of a host with two instances that are measured in turns."""
    names = {"ranker": {"profile": "latency"}, "next": {"profile": "throughput"}}
    plan = planned(CPU_HOST, [instance(name=name, models=["ranker"], **given) for name, given in names.items()])
    known = {
        "sides": [{"side": "A", "instance": "ranker"}, {"side": "B", "instance": "next"}],
        "conditions": [{"cpus": "2"}, {"cpus": "3"}],
        "plan": plan,
        "status": [{"name": "ranker", "problem": ""}, {"name": "next", "problem": ""}],
        "address": "10.0.0.5",
        "host": "gpu-a",
    }
    return by_side(asked(against="next", rate=5), **{**known, **more})


def test_both_sides_are_found_on_one_host():
    found = both()
    assert {side: (each["instance"], each["conditions"]) for side, each in found.items()} == {
        "A": ("ranker", {"cpus": "2"}),
        "B": ("next", {"cpus": "3"}),
    }
    assert found["A"]["grpc"] != found["B"]["grpc"]


def test_a_model_that_is_asked_for_need_not_be_that_of_the_other_instance():
    options_ = asked(against="next", rate=5, model="digits", signature="top")
    found = by_side(
        options_, [{"side": "B", "instance": "ranker"}], [{}], plan=plan(), status=HEALTHY, address="h", host="gpu-b"
    )
    assert (found["B"]["model"], found["B"]["signature"]) == ("ranker", None)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"status": [{"name": "ranker", "problem": ""}, {"name": "next", "problem": "the unit is failed"}]},
            "against: next on gpu-a does not serve: the unit is failed; run site.yml first",
        ),
        (
            {"sides": [{"side": "B", "instance": "new"}]},
            "against: new is not in the plan in force on gpu-a; it has: ranker, next; run site.yml if new is new",
        ),
        (
            {"sides": [{"side": "B", "instance": "next"}], "plan": {}},
            "against_host: gpu-a has no plan in force, so nothing of the fleet serves there; run site.yml first",
        ),
        (
            {"status": [{"name": "ranker", "problem": "the unit is failed"}, {"name": "next", "problem": ""}]},
            "instance: ranker on gpu-a does not serve: the unit is failed; run site.yml first",
        ),
    ],
)
def test_the_other_instance_is_refused_by_the_variable_that_names_it(more, sentence):
    with pytest.raises(WishError) as refused:
        both(**more)
    assert str(refused.value) == sentence


def seen(**ports):
    closed = {name: {"open": False, "why": why} for name, why in ports.items()}
    return {"ports": {"grpc": {"open": True}, "rest": {"open": True}, **closed}, "source": "10.0.0.9"}


@pytest.mark.parametrize(
    ("ports", "sentence"),
    [
        (
            {"grpc": "no answer"},
            "tfserving_allow_from: gpu-a does not answer load host load-1 on its grpc port; add 10.0.0.9 and run"
            " site.yml",
        ),
        (
            {"rest": "no route", "grpc": "refused"},
            "tfserving_allow_from: gpu-a does not answer load host load-1 on its rest port; add 10.0.0.9 and run"
            " site.yml",
        ),
        (
            {"grpc": "refused"},
            "tfserving_address: gpu-a refuses connections of load host load-1 to its grpc port; set it to the address"
            " that callers use, or look at status.yml",
        ),
        (
            {"rest": "unknown host"},
            "tfserving_address: load host load-1 cannot resolve gpu-a; set it, for the measured host, to the address"
            " that callers use",
        ),
    ],
)
def test_a_load_host_whose_calls_do_not_arrive_is_refused_with_the_variable_to_change(ports, sentence):
    assert str(unreachable(seen(**ports), "gpu-a", "load-1", "grpc")) == sentence


def test_a_benchmark_over_rest_needs_no_grpc_port():
    assert unreachable(seen(grpc="no answer"), "gpu-a", "load-1", "rest") is None
    assert unreachable(seen(), "gpu-a", "load-1", "grpc") is None


TLS = {"tls": True}


def test_a_server_with_tls_is_called_by_it_over_grpc_alone():
    secured = planned(CPU_HOST, [instance()], **TLS)
    assert target(asked(), secured, HEALTHY, {}, "h", "gpu-a")["secured"] is True
    assert target(asked(protocol="rest"), secured, HEALTHY, {}, "h", "gpu-a")["secured"] is False
    assert target(asked(), plan(), HEALTHY, {}, "h", "gpu-a")["secured"] is False


def test_a_handshake_that_failed_is_refused():
    failed = {**seen(), "tls": {"what": "no certificate", "why": "certificate required"}}
    assert str(unreachable(failed, "gpu-a", "load-1", "grpc")).startswith("tls_certificate: is missing, and gpu-a on")
    assert unreachable({**seen(), "tls": None}, "gpu-a", "load-1", "grpc") is None
