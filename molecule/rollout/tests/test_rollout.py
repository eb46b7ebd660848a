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


# For each fault what the run says of it, and whether the canary's callers notice it before that.
FAULTS = {
    "wrong": ("fails its prediction: golden request", False),
    "slow": ("more than chance explains (slower than 100 ms)", False),
    "failing": ("more than chance explains (errors)", True),
    "crashing": ("the canary's server began anew once and the control's did not", True),
}
# The others take minutes more, and go the same way.
SAMPLE = "failing"


@pytest.mark.parametrize(
    "fault", [pytest.param(each, marks=[] if each == SAMPLE else pytest.mark.long) for each in FAULTS]
)
def test_a_bad_version_is_taken_back_and_refused_from_then_on(fault, site, coming, traffic, gateways, served, shown):
    reason, is_noticed = FAULTS[fault]
    before = served()
    version, models = coming(f"faulty-{fault}")
    with traffic.flowing(gateways, rate=20.0, large=0.1):
        rolled = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    assert rolled.status != 0
    assert f"-> {version}: taken back" in rolled.message
    assert reason in rolled.message
    assert served() == before
    lost = sum(count for kinds in traffic.lost.values() for count in kinds.values())
    shown(f"{fault}: {lost} of {traffic.answered + lost} requests lost: {traffic.lost}")
    # The first step has 5 % of the calls.
    assert lost <= (0.05 * (traffic.answered + lost) if is_noticed else 0)
    refusals = {
        "site.yml": f"names {version}, which a roll-out has reverted: ",
        ROLLOUT: f"version {version} of digits was reverted: ",
    }
    for playbook, refusal in refusals.items():
        again = site(playbook=playbook, model="digits", tfserving_models=models)
        assert again.status != 0
        assert refusal in again.message


@pytest.mark.long
def test_a_version_too_large_for_the_hosts_is_refused_before_anything_moves(site, coming, served):
    before = served()
    version, models = coming()
    models[0]["memory_mb"] = 10_000_000
    refused = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    assert refused.status != 0
    assert " MB of the host" in refused.message
    assert f"digits {version} could not be prepared on" in refused.message
    assert served() == before
