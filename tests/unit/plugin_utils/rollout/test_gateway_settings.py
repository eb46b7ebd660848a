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


def test_the_roles_defaults_suit_a_rollout():
    assert {name: settings.DEFAULTS[name] for name in gateway_settings.COUNTED} == gateway_settings.COUNTED
    gateway_settings.check(gateway_settings.of(["edge-1"], {"edge-1": {}}))
