# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Roll-outs that are killed, overtaken or left to a person, while requests flow through both gateways."""

from __future__ import annotations

import random
import threading

import pytest

ROLLOUT, ROLLBACK = "playbooks/rollout.yml", "playbooks/rollback.yml"
# A run from its beginning to its end, roughly; a kill that comes after the end does nothing.
LENGTH_S = 240
RANDOM_KILLS = 20


# Before the first host leaves the traffic, before it loads, in the middle of a step, and before the end.
MOMENTS = (
    "TASK [Check the memory for the version]",
    "TASK [Load the version]",
    "from now on 500 of 1,000",
    "PLAY [Unload the version before",
)


@pytest.mark.long
def test_the_next_run_goes_on_where_a_killed_one_has_ended(site, coming, traffic, gateways, served):
    version, models = coming()
    given = {"playbook": ROLLOUT, "model": "digits", "tfserving_models": models}
    with traffic.flowing(gateways, rate=10.0, large=0.1):
        for moment in MOMENTS:
            killed = site(kill_at=moment, kill="everything", **given)
            assert killed.status != 0
            assert moment in killed.output
        # Neither versions nor shares are moved by a run that is about other things.
        kept = site(tfserving_models=models)
        assert kept.status == 0, kept.output
        done = site(**given)
    assert done.status == 0, done.output
    assert served() == [{version}] * 2
    assert traffic.lost == {}


@pytest.mark.long
def test_a_controller_may_die_at_any_moment(site, coming, traffic, gateways, served, shown):
    seed = random.randrange(2**32)
    shown(f"seed {seed}")
    moments = random.Random(seed)
    with traffic.flowing(gateways, rate=10.0, large=0.1):
        for _kill in range(RANDOM_KILLS // 4):
            version, models = coming()
            given = {"playbook": ROLLOUT, "model": "digits", "tfserving_models": models}
            for _again in range(4):
                site(kill_after=moments.uniform(1, LENGTH_S), kill="everything", **given)
            done = site(**given)
            # A run that was killed after its end has left nothing to do.
            assert done.status == 0 or "has nothing to roll out" in done.message, done.output
            assert served() == [{version}] * 2
    shown(f"{RANDOM_KILLS} kills: {traffic.lost} lost, {traffic.answered} answered")
    assert traffic.lost == {}


@pytest.mark.long
def test_a_rollback_wins_over_a_run_that_is_under_way(site, coming, traffic, gateways, served):
    before = served()
    _version, models = coming()
    found = {}

    def back() -> None:
        found["back"] = site(playbook=ROLLBACK, model="digits", tfserving_models=models, reason="wrong scores")

    rollback = threading.Thread(target=back)
    with traffic.flowing(gateways, rate=10.0, large=0.1):
        overtaken = site(
            playbook=ROLLOUT,
            model="digits",
            tfserving_models=models,
            at={"from now on 500 of 1,000": rollback.start},
        )
        rollback.join()
        again = site(playbook=ROLLBACK, model="digits", tfserving_models=models)
    assert found["back"].status == 0, found["back"].output
    assert overtaken.status != 0
    assert "another run has taken over" in overtaken.message
    assert again.status == 0, again.output
    assert served() == before
    assert traffic.lost == {}
    refused = site(playbook=ROLLOUT, model="digits", tfserving_models=models)
    assert "was reverted: wrong scores" in refused.message


@pytest.mark.long
def test_without_calls_a_version_is_taken_back_without_blame_or_a_person_decides(site, coming, served):
    before = served()
    version, models = coming(steps=[50, 100], progress_deadline="120s")
    given = {"playbook": ROLLOUT, "model": "digits"}
    back = site(tfserving_models=models, **given)
    assert back.status != 0
    assert "no caller has reached the canary; taken back at progress_deadline (120 s), without blame" in back.message
    assert f"nothing is held against version {version}, so " in back.message
    assert served() == before
    models[0]["rollout"]["auto_revert"] = False
    held = site(tfserving_models=models, **given)
    assert held.status != 0
    assert "auto_revert is off, so it waits for a person" in held.message
    assert f"-> {version}: shared, 50 % of the traffic" in site(playbook="playbooks/status.yml").message
    # The next step has no calls either.
    again = site(tfserving_models=models, promote=True, **given)
    assert f"-> {version}: shared, 100 % of the traffic" in again.message
    done = site(tfserving_models=models, promote=True, **given)
    assert done.status == 0, done.output
    assert served() == [{version}] * 2
