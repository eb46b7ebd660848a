# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions are rolled out while requests flow through both gateways, and taken back where they are worse.

Each test leaves the fleet with version 2.
"""

from __future__ import annotations

import pytest
from callers import SERVING

# Of each gateway, for the arms of each round and their end.
RELOADS = 6
ROLLOUT, ROLLBACK = "playbooks/rollout.yml", "playbooks/rollback.yml"


def test_a_good_version_is_rolled_out_and_no_request_is_lost(site, coming, traffic, gateways, served, on):
    before = served()
    version, models = coming()
    waiting = site(tfserving_models=models)
    assert waiting.status == 0, waiting.output
    assert f"-> {version} waits for rollout.yml" in waiting.message
    assert served() == before
    with traffic.flowing(gateways, rate=20.0, large=0.1):
        rolled = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    assert rolled.status == 0, rolled.output
    assert f"-> {version}: rolled out" in rolled.output
    assert traffic.lost_but_for(RELOADS) == {}
    assert served() == [{version}] * 2
    # One host has copied the version from the other, which has offered it no longer than that took.
    first = on(SERVING[0])
    assert "offers at" in first.check_output("journalctl --no-pager --unit tfserving-peer")
    assert first.check_output("ss --no-header --listening --tcp 'sport = :8491'") == ""
    # Nothing is left to do.
    assert not site(tfserving_models=models).changed


# What the run says of each fault.
FAULTS = {
    "wrong": "fails its prediction: golden request",
    "slow": "slower than 100 ms",
    "failing": "errors: canary",
    "crashing": "restarted",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_version_is_taken_back_and_refused_from_then_on(fault, site, coming, traffic, gateways, served):
    before = served()
    version, models = coming(f"faulty-{fault}")
    with traffic.flowing(gateways, rate=20.0, large=0.1):
        rolled = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    print(rolled.output)
    assert rolled.status != 0
    assert f"-> {version}: taken back" in rolled.message
    assert FAULTS[fault] in rolled.message
    assert served() == before
    print("LOST", traffic.lost, traffic.answered)
    refusals = {
        "site.yml": f"names {version}, which a roll-out has reverted: ",
        ROLLOUT: f"version {version} of digits was reverted: ",
    }
    for playbook, refusal in refusals.items():
        again = site(playbook=playbook, model="digits", tfserving_models=models)
        assert again.status != 0
        assert refusal in again.message
