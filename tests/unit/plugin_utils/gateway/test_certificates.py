# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a gateway's certificates before it is given them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import certificates
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.settings import DEFAULTS
from refusing import refusal
from tls_pairs import DAY, HOUR, NOW, pair

GOOD, OTHER, ENDED, ENDING = pair(), pair(), pair(NOW - 3 * DAY, NOW - DAY), pair(NOW - DAY, NOW + HOUR)


def said(**given: str) -> str:
    return refusal(certificates.check, {**DEFAULTS, **given})


def test_pairs_and_authorities_that_hold_are_taken():
    assert said() == ""
    front = {"gateway_tls_certificate": GOOD[0], "gateway_tls_key": GOOD[1], "gateway_tls_client_ca": OTHER[0]}
    back = {"gateway_server_certificate": OTHER[0], "gateway_server_key": OTHER[1], "gateway_server_ca": GOOD[0]}
    assert said(**front, **back) == ""


@pytest.mark.parametrize("name", ["gateway_tls", "gateway_server"])
@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (*ENDED, f"certificate: expired on {NOW - DAY:%Y-%m-%d}"),
        (*ENDING, f"certificate: expires on {NOW + HOUR:%Y-%m-%d at %H:%M} UTC, which may be within this run"),
        (GOOD[0], OTHER[1], "key: is not the key of {name}_certificate"),
        ("-----BEGIN x", GOOD[1], "certificate: is not the PEM text of a certificate"),
    ],
)
def test_a_pair_that_fails_handshakes_is_refused_without_being_shown(name, certificate, key, problem):
    sentence = said(**{f"{name}_certificate": certificate, f"{name}_key": key})
    assert sentence.partition(";")[0] == f"{name}_{problem.format(name=name)}"


def test_all_that_is_wrong_is_told_at_once():
    sentence = said(gateway_tls_client_ca=ENDED[0], gateway_server_ca="-----BEGIN x")
    assert f"gateway_tls_client_ca: expired on {NOW - DAY:%Y-%m-%d}; renew it" in sentence
    assert "gateway_server_ca: is not the PEM text of certificates; begin it with its -----BEGIN line" in sentence
