# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which servers a gateway asks golden requests, and what."""

from __future__ import annotations

from typing import Any

import gateway_cases
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.answers import Move, wanted

MOVE = Move("ranker", 7, 8)
GOLDEN = {"file": "golden.jsonl", "requests": [{"name": "two", "inputs": {"x": [1]}, "expect": {"y": [2]}}]}


def plan(*versions: int, golden: Any = None, probe: Any = None, **more: Any) -> dict[str, Any]:
    served = {"name": "ranker", "versions": list(versions), "golden": golden, "probe": probe}
    return {"instances": [gateway_cases.instance(versions=versions, **more)], "models": [served]}


def asked(move: Move = MOVE, **plans: Any) -> dict[str, Any]:
    sites = {
        name: {"address": f"10.0.0.{number}", "gate_port": 8490, "longest_call_s": 30}
        for number, name in enumerate(plans, 1)
    }
    return wanted(move, "h1", list(plans), plans, sites)


def place(number: int, **more: Any) -> dict[str, Any]:
    usual = {"name": f"h{number}.ranker", "address": f"10.0.0.{number}", "rest": 8501, "grpc": 8500, "encrypts": False}
    return {**usual, **more}


def test_a_server_with_both_versions_is_asked_for_both():
    found = asked(h1=plan(7, 8, golden=GOLDEN), h2=plan(7))
    assert found == {
        "model": "ranker",
        "new": 8,
        "old": 7,
        "origin": "golden.jsonl",
        "requests": GOLDEN["requests"],
        "servers": [{**place(1), "before": place(1)}],
    }


def test_a_server_without_the_version_before_is_compared_with_the_first_control_that_has_it():
    (server,) = asked(Move("ranker", 8, 7), h1=plan(7, golden=GOLDEN), h2=plan(7), h3=plan(8))["servers"]
    assert server["before"] == place(3)


def test_where_nobody_has_the_version_before_there_is_no_comparison():
    (server,) = asked(Move("ranker", 8, 7), h1=plan(7, golden=GOLDEN))["servers"]
    assert server == {**place(1), "before": None}


def test_each_instance_with_the_model_is_asked_at_its_own_ports_and_by_tls_where_it_takes_that():
    one = plan(7, 8, golden=GOLDEN, flags={"ssl_config_file": "/run/x"})
    one["instances"] += [
        gateway_cases.instance("second", ports={"grpc": 8600, "rest": 8601}, versions=[7, 8]),
        gateway_cases.instance("other", models=["tagger"], ports={"grpc": 8700, "rest": 8701}),
    ]
    names = [(each["name"], each["rest"], each["grpc"], each["encrypts"]) for each in asked(h1=one)["servers"]]
    assert names == [("h1.ranker", 8501, 8500, True), ("h1.second", 8601, 8600, False)]


def test_without_golden_requests_the_probes_request_is_asked_and_expects_nothing():
    probe = {"instances": [{"x": 1}], "signature_name": "wide", "expect": [2]}
    found = asked(h1=plan(7, 8, probe=probe))
    assert (found["origin"], found["requests"]) == (
        "its probe",
        [{"name": "probe", "signature_name": "wide", "instances": [{"x": 1}]}],
    )


@pytest.mark.parametrize("probe", [None, False, {"signature_name": "wide"}, {"expect": [1]}])
def test_without_a_request_no_server_is_asked(probe):
    found = asked(h1=plan(7, 8, probe=probe))
    assert (found["requests"], found["servers"]) == ([], [])


def test_an_address_that_no_gateway_reaches_is_refused():
    site = {"address": "127.0.0.1", "gate_port": 8490, "longest_call_s": 30}
    with pytest.raises(WishError) as caught:
        wanted(MOVE, "h1", [], {"h1": plan(7, 8, golden=GOLDEN)}, {"h1": site})
    assert str(caught.value).startswith("tfserving_address: is 127.0.0.1 for the host h1, where its gate cannot refuse")
