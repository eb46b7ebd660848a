# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which differences between two runs forbid a silent comparison."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.conditions import (
    between,
    differences,
    refusal,
    same_plan,
)

DOCUMENT: dict[str, Any] = {
    "instance": "ranker",
    "host": "gpu1",
    "load_hosts": ["load1"],
    "protocol": "grpc",
    "arrivals": "poisson",
    "slo_p99_ms": 50,
    "conditions": {
        "plan_digest": "a" * 64,
        "server_version": "2.19.1",
        "model_versions": {"ranker": [7]},
        "cpu": "AMD EPYC 9354",
        "cpus": "2-5",
        "governor": "performance",
        "mhz": [3200.0, 3250.0, 3300.0],
        "clocksource": "tsc",
        "kernel": "6.1.0",
        "boost": True,
        "collection_version": "1.0.0",
    },
    "requests": {"source": "samples", "digest": "1", "items": {"mean": 8, "max": 8}},
    "stages": [{"result": {"duration_s": 60}, "host": {"throttled_us": 0, "psi_cpu_some_us": 1_000_000}}],
}


def changed(**others: Any) -> dict[str, Any]:
    found = copy.deepcopy(DOCUMENT)
    for path, value in others.items():
        *keys, last = path.split("__")
        part = found
        for key in keys:
            part = part[key]
        part[last] = value
    return found


def test_equal_conditions_have_no_differences():
    assert differences(DOCUMENT, changed()) == []
    assert refusal([]) == ""
    assert same_plan(DOCUMENT, changed())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"conditions__plan_digest": "b" * 64}, f"the plan: {'a' * 48} before, {'b' * 48} now"),
        ({"conditions__server_version": "2.20.0"}, "the server's version: 2.19.1 before, 2.20.0 now"),
        ({"conditions__model_versions": {"ranker": [8]}}, "the model versions: ranker 7 before, ranker 8 now"),
        ({"conditions__cpu": None}, "the CPU model: AMD EPYC 9354 before, unknown now"),
        ({"conditions__cpus": "2-9"}, "the CPUs of the instance: 2-5 before, 2-9 now"),
        ({"conditions__governor": "powersave"}, "the governor of the clocks: performance before, powersave now"),
        ({"conditions__boost": False}, "turbo: on before, off now"),
        ({"conditions__clocksource": "hpet"}, "the clock source: tsc before, hpet now"),
        ({"protocol": "rest"}, "the protocol: grpc before, rest now"),
        ({"arrivals": "constant"}, "the arrivals: poisson before, constant now"),
        (
            {"conditions__mhz": [3000.0, 3087.0, 3300.0]},
            "the clocks of the CPUs: 3,250 MHz before, 3,087 MHz now, more than 5% apart",
        ),
        (
            {"requests__digest": "2", "requests__items": {"mean": 8.2, "max": 9}},
            "other requests were sent: 8 items each before, 8.2 now",
        ),
    ],
)
def test_what_decides_about_latencies_forbids_a_silent_comparison(change, sentence):
    after = changed(**change)
    found = differences(DOCUMENT, after)
    assert [(each.text, each.decides) for each in found] == [(sentence, True)]
    assert refusal(found) == f"not compared, since {sentence}"
    assert same_plan(DOCUMENT, after) == ("conditions__plan_digest" not in change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"conditions__kernel": "6.12.0"}, "the kernel: 6.1.0 before, 6.12.0 now"),
        ({"host": "gpu2"}, "the host: gpu1 before, gpu2 now"),
        ({"load_hosts": ["load1", "load2"]}, "the load hosts: load1 before, load1, load2 now"),
        ({"slo_p99_ms": 40}, "the objective: 50 before, 40 now"),
        ({"requests__digest": "2"}, "other requests were sent: 8 items each before, 8 now"),
    ],
)
def test_what_does_not_is_said_all_the_same(change, sentence):
    found = differences(DOCUMENT, changed(**change))
    assert [(each.text, each.decides) for each in found] == [(sentence, False)]
    assert refusal(found) == ""


def test_requests_from_elsewhere_are_others():
    found = differences(DOCUMENT, changed(requests__digest="2", requests__source="generated"))
    assert refusal(found) == "not compared, since other requests were sent: 8 items each before, 8 now"


@pytest.mark.parametrize("mhz", [[3100.0, 3088.0, 3300.0], None, []])
def test_clocks_within_5_percent_or_unknown_are_no_difference(mhz):
    assert differences(DOCUMENT, changed(conditions__mhz=mhz)) == []


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ({"throttled_us": 1_200_000}, "a CPU quota held the server up for 0.0% of the time before and for 2.0% now"),
        (
            {"psi_cpu_some_us": 12_000_000},
            "threads of the server waited for a CPU for 1.7% of the time before and for 20.0% now",
        ),
    ],
)
def test_a_server_held_up_in_one_of_the_runs_is_a_difference(host, sentence):
    after = changed(stages=[{"result": {"duration_s": 60}, "host": {**DOCUMENT["stages"][0]["host"], **host}}])
    assert [each.text for each in differences(DOCUMENT, after)] == [sentence]
    assert differences(after, after) == []
    assert differences(DOCUMENT, changed(stages=[{"result": None, "host": None}])) == []


SETTINGS = {
    "flags": {"port": 8500, "grpc_max_threads": 8, "model_config_file": "/a"},
    "batching": {"max_batch_size": 8},
}


def with_settings(**more: Any) -> dict[str, Any]:
    return changed(conditions__settings=copy.deepcopy(SETTINGS), **more)


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({}, []),
        # A silent comparison of runs would be refused for this one.
        ({"conditions__server_version": "2.20.0"}, ["the server's version: 2.20.0 for B, 2.19.1 for A"]),
        ({"slo_p99_ms": 40}, ["the objective: 40 for B, 50 for A"]),
        ({"instance": "other", "host": "gpu2", "requests__digest": "2"}, []),
        (
            {"conditions__mhz": [2000.0]},
            ["the clocks of the CPUs: 2,000 MHz for B, 3,250 MHz for A, more than 5% apart"],
        ),
        (
            {"conditions__settings__flags": {"port": 8600, "grpc_max_threads": 4, "model_config_file": "/b"}},
            ["the flag grpc_max_threads: 4 for B, 8 for A"],
        ),
        (
            {"conditions__settings__flags": {"port": 8600, "new": True}},
            ["the flag grpc_max_threads: not set for B, 8 for A", "the flag new: true for B, not set for A"],
        ),
        ({"conditions__settings__flags": {"port": "8600", "grpc_max_threads": "8"}}, []),
        ({"conditions__settings__batching": None}, ["batching: off for B, on for A"]),
        ({"conditions__settings__batching": {"max_batch_size": 16}}, ["max_batch_size: 16 for B, 8 for A"]),
    ],
)
def test_what_differs_between_two_instances_in_turns_is_listed(change, sentences):
    assert between(with_settings(**change), with_settings()) == sentences
