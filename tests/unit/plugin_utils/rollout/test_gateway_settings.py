# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A roll-out begins only where every gateway divides its calls and counts them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import settings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import gateway_settings

USUAL = {"gateway_grpc_mode": "auto", "gateway_log": "/dev/log", "gateway_log_calls": True}


def test_gateways_have_the_settings_that_their_variables_and_the_roles_defaults_say():
    hosts = {
        "edge-1": {},
        "edge-2": {"gateway_log_calls": "False"},
        "edge-3": {"gateway_log": "10.0.0.1:514"},
        "edge-4": {"gateway_grpc_mode": "tcp"},
    }
    assert gateway_settings.of(hosts, hosts) == {
        "edge-1": USUAL,
        "edge-2": {**USUAL, "gateway_log_calls": False},
        "edge-3": {**USUAL, "gateway_log": "10.0.0.1:514"},
        "edge-4": {**USUAL, "gateway_grpc_mode": "tcp"},
    }
    with pytest.raises(WishError, match=r"^gateway_log_calls: is the string 'perhaps'; give true"):
        gateway_settings.of(["edge-1"], {"edge-1": {"gateway_log_calls": "perhaps"}})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"gateway_grpc_mode": "tcp"},
            "gateway_grpc_mode: is tcp for edge-2, so gRPC calls reach the new version beyond the canary's share; "
            "set it to auto",
        ),
        (
            {"gateway_log": "stdout"},
            "gateway_log: is 'stdout' for edge-2, and steps are judged by the calls in its journal; set it to /dev/log",
        ),
        (
            {"gateway_log_calls": False},
            "gateway_log_calls: is false for edge-2, and steps are judged by the calls in its journal; set it to true",
        ),
    ],
)
def test_a_gateway_that_could_not_divide_or_count_calls_is_refused(wrong, sentence):
    with pytest.raises(WishError) as caught:
        gateway_settings.check({"edge-1": USUAL, "edge-2": {**USUAL, **wrong}})
    assert str(caught.value) == sentence


OLD = {"host": "gpu-1", "instance": "ranker", "ports": {"grpc": 9000, "rest": 9001}, "models": {"ranker": [7]}}


def test_a_model_whose_old_servers_are_not_taken_over_yet_has_no_roll_out():
    gateways = {"edge-1": {"gateway_adopted": [OLD], "gateway_adopted_share": 50}}
    with pytest.raises(WishError) as caught:
        gateway_settings.refuse_adopted("ranker", gateways, gateways)
    assert str(caught.value) == (
        "gateway_adopted_share: is 50 for edge-1, so old servers still answer calls for ranker; "
        "run adopt_share.yml first"
    )
    gateway_settings.refuse_adopted("dense", gateways, gateways)
    gateway_settings.refuse_adopted("ranker", ["edge-2"], {"edge-2": {}})
    gateways["edge-1"]["gateway_adopted_share"] = 100
    gateway_settings.refuse_adopted("ranker", gateways, gateways)


def test_the_roles_defaults_suit_a_rollout():
    assert {name: settings.DEFAULTS[name] for name in gateway_settings.COUNTED} == gateway_settings.COUNTED
    gateway_settings.check(gateway_settings.of(["edge-1"], {"edge-1": {}}))
