# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions are rolled out while requests flow through both gateways, and taken back where they are worse.

Each test leaves the fleet with version 2.
"""

from __future__ import annotations

import json

import pytest

SERVING = ("molecule-rollout-a", "molecule-rollout-b")
# Of each gateway, for the arms of each round and their end.
RELOADS = 6
ROLLOUT, ROLLBACK = "playbooks/rollout.yml", "playbooks/rollback.yml"


@pytest.fixture
def served(on):
    """The versions of digits that the hosts serve, as a set of each."""

    def ask() -> list[set[str]]:
        question = "curl --silent --fail http://127.0.0.1:8501/v1/models/digits"
        found = [json.loads(on(name).check_output(question))["model_version_status"] for name in SERVING]
        return [{each["version"] for each in states if each["state"] == "AVAILABLE"} for states in found]

    return ask


def test_a_good_version_is_rolled_out_and_no_request_is_lost(site, wishes, traffic, gateways, served):
    models = wishes(2, "digits-2")
    waiting = site(tfserving_models=models)
    assert waiting.status == 0, waiting.output
    assert "digits 1 -> 2 waits for rollout.yml" in waiting.message
    assert served() == [{"1"}, {"1"}]
    with traffic.flowing(gateways, rate=20.0, large=0.1):
        rolled = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    assert rolled.status == 0, rolled.output
    assert "digits 1 -> 2: rolled out" in rolled.output
    assert traffic.lost_but_for(RELOADS) == {}
    assert served() == [{"2"}, {"2"}]
    # Nothing is left to do.
    assert not site(tfserving_models=models).changed


# Each fault is a version of its own, since a version that was taken back is refused from then on.
FAULTS = {
    "wrong": (3, "fails its prediction: probe"),
    "slow": (4, "slower than 100 ms"),
    "failing": (5, "errors: canary"),
    "crashing": (6, "restarted"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_version_is_taken_back_and_refused_from_then_on(fault, site, wishes, traffic, gateways, served):
    version, reason = FAULTS[fault]
    models = wishes(version, f"faulty-{fault}")
    with traffic.flowing(gateways, rate=20.0, large=0.1):
        rolled = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    print(rolled.output)
    assert rolled.status != 0
    assert f"digits 2 -> {version}: taken back" in rolled.message
    assert reason in rolled.message
    assert served() == [{"2"}, {"2"}]
    print("LOST", traffic.lost, traffic.answered)
    for playbook in ("site.yml", ROLLOUT):
        again = site(playbook=playbook, model="digits", tfserving_models=models)
        assert again.status != 0
        assert f"version {version} of digits was reverted" in again.message
