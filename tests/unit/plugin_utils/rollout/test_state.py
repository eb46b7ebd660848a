# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The state of a roll-out: its transitions, the ones that are refused, and who wins where two controllers meet."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.state import FOLLOWS, State
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.verdict import Evidence, Verdict
from hypothesis import given
from hypothesis import strategies as st

STEPS = (1, 25, 100)


def begun(last=None, old=7, new=8, retry=False):
    return states.begin(last, "ranker", old, new, STEPS, 1000.0, retry)


def at(stage, **changes):
    return replace(begun(), stage=stage, **changes)


def said(function, *arguments):
    with pytest.raises(RefusalError) as refusal:
        function(*arguments)
    return str(refusal.value)


def test_a_roll_out_goes_through_its_stages_to_the_end():
    state = begun()
    seen = []
    while state.stage != "rest":
        seen.append((state.stage, state.percent))
        state = states.advance(state, 1001.0)
    state = states.finish(state, 1002.0)
    assert seen == [("prepare", 0), ("canary", 0), ("share", 1), ("share", 25), ("share", 100)]
    assert (state.stage, state.serving, state.generation, state.revision) == ("done", 8, 1, 7)


def test_a_revert_takes_the_share_at_once_and_ends_with_the_old_version():
    state = states.revert(at("share", step=1), "errors: canary 11/412", True, 1100.0)
    assert (state.stage, state.percent, state.serving, state.is_share_zero) == ("reverting", 0, 7, True)
    assert state.reverted == {"8": {"reason": "errors: canary 11/412", "at": 1100.0}}
    assert states.finish(state, 1200.0).stage == "reverted"


def test_a_revert_without_blame_is_not_remembered_as_bad():
    state = states.revert(at("share"), "no traffic", False, 1100.0)
    assert (state.reverted, state.reason) == ({}, "no traffic")


def test_a_bad_version_is_refused_until_it_is_to_be_tried_again():
    last = states.finish(states.revert(at("share"), "canary 11/412, control 0/420: fail", True, 1100.0), 1200.0)
    assert said(begun, last) == (
        "version 8 of ranker was reverted: canary 11/412, control 0/420: fail; name another version, or set"
        " rollout.retry to true"
    )
    assert begun(last, new=9).reverted.keys() == {"8"}
    again = begun(last, retry=True)
    assert (again.reverted, again.generation) == ({}, 2)


@pytest.mark.parametrize("stage", states.UNDER_WAY)
def test_a_second_roll_out_waits_for_the_first(stage):
    assert said(begun, at(stage)) == (
        f"the roll-out of ranker 7 -> 8 is not over (stage {stage}); let rollout.yml finish it, or take it back with"
        " rollback.yml"
    )


def test_the_version_in_service_is_no_roll_out():
    assert said(begun, None, 7, 7) == "ranker serves version 7 already; name another version"


@pytest.mark.parametrize("stage", FOLLOWS)
def test_only_known_transitions_are_possible(stage):
    state = at(stage, step=len(STEPS) - 1)
    ends = {"rest", "done", "reverting", "reverted"}
    if stage in ends:
        assert said(states.advance, state, 1.0) == f"no stage follows {stage} of ranker but its end; finish it"
    else:
        assert states.advance(state, 1.0).stage == FOLLOWS[stage][0]
    if stage in ("reverting", "reverted"):
        assert said(states.revert, state, "", True, 1.0) == "the roll-out of ranker is taken back already; "
    if stage not in ("rest", "reverting"):
        assert said(states.finish, state, 1.0) == f"the stage {stage} of ranker is not the last one; "
    if stage in ("done", "reverted"):
        assert said(states.resume, state, 1.0) == f"the roll-out of ranker is over (stage {stage}); begin a new one"
    if stage in ("done", "reverting", "reverted"):
        assert said(states.hold, state, "", True) == f"the stage {stage} of ranker cannot be held; "
    if stage != "share":
        assert said(states.with_evidence, state, {}) == f"the stage {stage} of ranker has no traffic to judge; "


def test_a_held_roll_out_goes_on_when_it_is_released():
    held = states.hold(at("share", step=1, evidence={"since": 1.0}), "auto_promote is off", True)
    assert held.percent == 0
    assert said(states.advance, held, 1.0) == ("the roll-out of ranker is held: auto_promote is off; release it first")
    free = states.release(held, 2000.0)
    assert (free.held, free.percent, free.since, free.evidence) == ("", 25, 2000.0, None)
    assert said(states.release, free, 1.0) == "the roll-out of ranker is not held; "


def test_after_a_killed_controller_the_last_write_counts_and_another_goes_on_from_there():
    first = states.advance(states.advance(begun(), 1.0), 2.0)
    second = states.with_evidence(first, Evidence(2.0).to_json())
    found = states.newest([begun(), first, second, first])
    assert found == second
    again = states.resume(found, 500.0)
    assert (again.generation, again.revision, again.stage, again.percent) == (2, 1, "share", 1)
    assert again.evidence["since"] == 500.0
    assert states.newest([again, second]) == again


def test_no_host_has_a_state():
    assert states.newest([]) is None
    states.check_generation(begun(), None)


def test_who_has_been_overtaken_writes_nothing_more():
    mine = at("share")
    theirs = states.rollback(mine, "ranker", "by alice", 1100.0)
    assert said(states.check_generation, mine, theirs) == (
        "another run took over the roll-out of ranker (generation 2, this is 1); let that one finish"
    )
    states.check_generation(theirs, mine)
    # Whatever the overtaken one still wrote, and however often.
    assert states.newest([replace(mine, revision=99), theirs]) == theirs


@pytest.mark.parametrize("stage", ["prepare", "canary", "share", "rest", "done"])
def test_a_rollback_wins_in_every_stage(stage):
    state = states.rollback(at(stage, held="waits"), "ranker", "by alice", 1100.0)
    assert (state.stage, state.generation, state.percent, state.serving, state.held) == ("reverting", 2, 0, 7, "")
    assert state.reverted["8"]["reason"] == "by alice"


def test_a_second_rollback_in_a_row_changes_nothing_but_the_generation():
    once = states.rollback(at("done"), "ranker", "by alice", 1100.0)
    twice = states.rollback(once, "ranker", "by bob", 1200.0)
    assert twice == replace(once, generation=3)
    thrice = states.rollback(states.finish(twice, 1300.0), "ranker", "by bob", 1400.0)
    assert (thrice.stage, thrice.serving, thrice.reverted) == ("reverted", 7, once.reverted)


def test_without_a_roll_out_no_version_before_is_known():
    assert said(states.rollback, None, "ranker", "", 1.0) == (
        "ranker has no roll-out to take back, so no version before it is known; name the version to serve in the"
        " inventory and run site.yml"
    )


def test_verdicts_are_remembered_and_repetitions_replaced():
    state = at("share")
    for number in range(3):
        state = states.note(state, Verdict("inconclusive", f"{number} calls"), float(number))
    state = states.note(state, Verdict("pass", "errors: canary 0/600\x1b[2J"), 9.0)
    assert [(each["outcome"], each["sentence"], each["percent"]) for each in state.history] == [
        ("inconclusive", "2 calls", 1),
        ("pass", "errors: canary 0/600\\x1b[2J", 1),
    ]
    for number in range(200):
        state = states.note(state, Verdict("pass" if number % 2 else "inconclusive", ""), float(number))
    assert len(state.history) == states.MOST_VERDICTS


moves = st.lists(
    st.sampled_from(
        [
            lambda state: states.advance(state, 1.0),
            lambda state: states.hold(state, "x", False),
            lambda state: states.release(state, 1.0),
            lambda state: states.revert(state, "bad", True, 1.0),
            lambda state: states.finish(state, 1.0),
            lambda state: states.resume(state, 1.0),
            lambda state: states.rollback(state, "ranker", "by alice", 1.0),
            lambda state: states.note(state, Verdict("pass", "x"), 1.0),
            lambda state: begun(state, state.serving, 9 if state.serving != 9 else 10),
        ]
    ),
    max_size=30,
)


@given(moves)
def test_any_order_of_moves_rises_and_survives_as_plain_data(sequence):
    state = begun()
    for move in sequence:
        try:
            after = move(state)
        except RefusalError:
            continue
        assert (after.generation, after.revision) > (state.generation, state.revision)
        assert states.from_json(json.loads(json.dumps(after.to_json()))) == after
        if after.stage in ("reverting", "reverted"):
            assert (after.percent, after.serving) == (0, after.old)
        if after.generation == state.generation and after.stage != state.stage:
            assert after.stage in FOLLOWS[state.stage]
        state = after


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": 2}, "the state of a roll-out is not of schema 1"),
        ({"generation": True}, "the state of a roll-out has no usable generation"),
        ({"generation": 0}, "the state of a roll-out has a step or generation that cannot be"),
        ({"step": 3}, "the state of a roll-out has a step or generation that cannot be"),
        ({"stage": "share\n"}, "the state of a roll-out has no usable stage or steps"),
        ({"steps": []}, "the state of a roll-out has no usable stage or steps"),
        ({"steps": ["1"]}, "the state of a roll-out has no usable stage or steps"),
        ({"history": [1]}, "the state of a roll-out has no usable history"),
        ({"reverted": {"8": "bad"}}, "the state of a roll-out has no usable history"),
        ({"model": None}, "the state of a roll-out has no usable model"),
        ({"edge_s": "85ms"}, "the state of a roll-out has no usable edge_s"),
        ({"edge_s": 0}, "the state of a roll-out has no usable edge_s"),
        ({"edge_s": float("nan")}, "the state of a roll-out has no usable edge_s"),
    ],
)
def test_a_state_that_no_controller_has_left_is_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        states.from_json({**begun().to_json(), **changes})
    with pytest.raises(ValueError, match="is not of schema 1"):
        states.from_json([])


def test_the_edge_of_slow_calls_stays_whatever_comes():
    state = states.with_edge(replace(begun(), stage="share"), 0.085)
    later = states.release(states.hold(states.advance(states.resume(state, 5.0), 6.0), "why", True), 7.0)
    assert states.from_json(json.loads(json.dumps(later.to_json()))).edge_s == 0.085
    assert states.revert(later, "worse", True, 8.0).edge_s == 0.085


def test_a_state_is_read_with_its_defaults():
    assert states.from_json(begun().to_json()) == State("ranker", 1, 1, 7, 8, STEPS, since=1000.0)
