# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts of single steps with their sentences, what follows from them, and whole roll-outs in simulated time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.samples import Counts, Delta
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.sequential import Arm
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.verdict import Evidence
from hypothesis import given
from hypothesis import strategies as st
from simulated_rollout import RUNS, Rates, share, whole, wish

LATE = 10_000.0


def rules(**changes):
    return verdict.rules(wish(**changes))


RULES = rules(slow_share_over="100ms")


POLLS = 100


def part(counts, poll):
    """Return what of the counts comes with one of the polls, as evenly as whole numbers allow."""
    return Counts(*(count * (poll + 1) // POLLS - count * poll // POLLS for count in counts))


def seen(canary=(), control=(), given=RULES, evidence=None, **last):
    """Return the evidence after many polls, late enough in the step; the last one brings whatever else is given."""
    evidence = evidence or Evidence(0.0)
    for poll in range(POLLS):
        delta = Delta(part(canary, poll), part(control, poll), **(last if poll == POLLS - 1 else {}))
        evidence = verdict.look(evidence, delta, given, 500.0 + poll)
    return evidence


def judged(*counts, given=RULES, now=LATE, **others):
    return verdict.judge(seen(*counts, given=given, **others), given, now)


def restarted(canary=0, control=0):
    return {"canary": ["a"] * canary, "control": ["b"] * control}


@pytest.mark.parametrize(
    ("canary", "control", "outcome", "sentence"),
    [
        ((412, 20), (420, 0), "fail", "errors: canary 20/412, control 0/420: fail, more than chance explains (errors)"),
        ((600, 0), (600, 0), "pass", "errors: canary 0/600, control 0/600: pass"),
        ((600, 40), (600, 38), "pass", "errors: canary 40/600, control 38/600: pass"),
        (
            (0,),
            (600, 1),
            "inconclusive",
            "errors: canary 0/0, control 1/600: inconclusive, no caller has reached the canary",
        ),
        (
            (499, 0),
            (499, 0),
            "inconclusive",
            "errors: canary 0/499, control 0/499: inconclusive, 499 of 500 calls that it takes (min_samples)",
        ),
        (
            (600, 2),
            (600, 0),
            "inconclusive",
            "errors: canary 2/600, control 0/600: inconclusive, errors not settled yet",
        ),
        (
            (3000, 0, 120),
            (3000, 0, 30),
            "fail",
            "errors: canary 0/3,000, control 0/3,000; slower than 100 ms: canary 120/3,000, control 30/3,000: fail,"
            " more than chance explains (slower than 100 ms)",
        ),
        (
            (600, 0, 15),
            (600, 0, 5),
            "inconclusive",
            "errors: canary 0/600, control 0/600; slower than 100 ms: canary 15/600, control 5/600: inconclusive,"
            " slower than 100 ms not settled yet",
        ),
        (
            (0, 0, 0, 40, 40),
            (0, 0, 0, 40, 0),
            "fail",
            "errors: canary 0/0, control 0/0; wrong golden answers: canary 40/40, control 0/40: fail, more than chance"
            " explains (wrong golden answers)",
        ),
    ],
)
def test_a_verdict_gives_its_numbers(canary, control, outcome, sentence):
    found = judged(canary, control)
    assert (found.outcome, found.sentence) == (outcome, sentence)


def test_golden_calls_alone_never_pass():
    found = judged((0, 0, 0, 5000, 0), (0, 0, 0, 5000, 0))
    assert found.outcome == "inconclusive"
    assert not found.has_traffic


def test_the_step_takes_its_time_whatever_the_calls():
    found = judged((5000, 0), (5000, 0), now=89.0)
    assert found.sentence.endswith("inconclusive, 89 of 90 s that a step takes at least")


def test_calls_of_a_server_that_has_just_loaded_do_not_count():
    early = verdict.look(Evidence(0.0), Delta(Counts(100, 100), Counts(100, 0)), RULES, 29.0)
    assert early.of("errors").canary == Arm()
    assert verdict.judge(early, RULES, 29.0).outcome == "inconclusive"


def test_a_restart_fails_even_before_calls_count():
    early = verdict.look(Evidence(0.0), Delta(restarted=restarted(canary=1)), RULES, 29.0)
    found = verdict.judge(early, RULES, 29.0)
    assert (found.outcome, found.is_urgent) == ("fail", True)
    assert found.sentence == (
        "errors: canary 0/0, control 0/0: fail, the canary's server began anew once and the control's did not"
    )


def test_two_restarts_are_told_as_such():
    assert "began anew 2 times" in judged((600, 0), (600, 0), restarted=restarted(canary=2)).sentence


def test_restarts_in_both_arms_blame_nobody():
    found = judged((600, 0), (600, 0), restarted=restarted(1, 1))
    assert found.sentence.endswith("inconclusive, servers of both arms began anew, so that it is not the version alone")


def test_a_restart_of_the_control_alone_stops_nothing():
    assert judged((600, 0), (600, 0), restarted=restarted(0, 1)).outcome == "pass"


def test_a_broken_source_is_no_bad_model():
    found = judged((600, 0), (600, 0), broken=["gateway edge-1 does not answer"])
    assert (found.outcome, found.is_urgent) == ("inconclusive", False)
    assert found.sentence.endswith("inconclusive, gateway edge-1 does not answer; that says nothing about the version")


def test_what_was_seen_before_the_source_broke_still_counts():
    assert judged((412, 20), (420, 0), broken=["gateway edge-1 does not answer"]).outcome == "fail"


def test_a_source_that_answers_again_lets_the_step_go_on():
    broken = seen((600, 0), (600, 0), broken=["gateway edge-1 does not answer"])
    assert judged((1, 0), (1, 0), evidence=broken).outcome == "pass"


def test_a_canary_that_is_dead_while_nothing_compares_it_gets_no_more_calls_and_no_blame():
    found = judged((20, 20), (0,))
    assert (found.outcome, found.is_urgent) == ("inconclusive", True)
    assert found.sentence.endswith("the canary fails and nothing compares it, so it gets no traffic and no blame")


def test_the_last_step_is_held_against_what_the_control_had_before():
    before = replace(Evidence(0.0), has_control=False, before=Arm(5000, 250))
    assert judged((5000, 260), (), evidence=before).outcome == "pass"
    assert judged((5000, 3000), (), evidence=before).is_urgent


def test_a_gate_in_dry_run_is_told_and_decides_nothing():
    given = rules(gates={"errors": "dry_run", "restarts": "dry_run"}, slow_share_over="100ms")
    found = verdict.judge(seen((600, 60), (600, 0), given, restarted=restarted(1)), given, LATE)
    assert found.outcome == "pass"
    assert found.sentence.endswith("pass (would fail by errors and restarts, which dry_run leaves out)")


def test_without_an_edge_slow_calls_are_not_judged_and_a_pass_says_so():
    found = judged((600, 0, 600), (600, 0, 0), given=rules())
    assert (found.outcome, found.sentence.endswith(": pass, slow calls not judged")) == ("pass", True)
    for quiet in (rules(gates={"slow": "dry_run"}), rules(slow_share_over="100ms")):
        assert "not judged" not in judged((600, 0), (600, 0), given=quiet).sentence
    alone = replace(Evidence(0.0), has_control=False)
    assert judged((600, 0), (), given=rules(), evidence=alone).sentence == "errors: canary 0/600, control 0/0: pass"
    assert verdict.rules(wish(), 0.25).edge_s == 0.25
    assert verdict.rules(wish(slow_share_over="100ms"), 0.25).edge_s == 0.1


def test_a_step_in_which_the_edge_came_late_waits_for_calls_that_are_judged_by_it():
    before = seen((600, 0), (600, 0), given=rules())
    found = judged((400, 0), (400, 0), given=RULES, evidence=before)
    assert found.sentence.endswith("inconclusive, 400 of 500 calls since it is known which ones are slow (min_samples)")
    assert judged((500, 0), (500, 0), given=RULES, evidence=before).outcome == "pass"
    reported = rules(slow_share_over="100ms", gates={"slow": "dry_run"})
    assert judged((1, 0), (1, 0), given=reported, evidence=before).outcome == "pass"


def test_all_tests_of_a_roll_out_share_the_false_alarms():
    steps, gates = 4, 3
    assert [test.alpha for test in RULES.tests.values()] == [verdict.ALPHA / steps / gates] * gates
    # Slow calls have their part also where it is not known yet which ones are.
    assert rules(steps=[100]).tests["errors"].alpha == verdict.ALPHA / gates
    assert set(rules().tests) == {"errors", "golden"}


def test_the_next_step_begins_with_what_the_control_has_shown():
    after = verdict.next_step(verdict.next_step(seen((600, 1), (600, 2)), 700.0, True), 800.0, False)
    assert after == Evidence(800.0, False, Arm(600, 2))


counts = st.tuples(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1), st.integers(0, 100), st.floats(0, 1)).map(
    lambda each: Counts(each[0], int(each[0] * each[1]), int(each[0] * each[2]), each[3], int(each[3] * each[4]))
)
deltas = st.builds(
    Delta,
    counts,
    counts,
    st.builds(restarted, st.integers(0, 1), st.integers(0, 1)),
    st.lists(st.just("gateway edge-1 does not answer"), max_size=1),
)


@given(st.lists(deltas, max_size=6), st.booleans(), st.floats(0, 2000))
def test_every_evidence_gives_a_verdict_and_goes_on_from_plain_data(polls, has_control, now):
    evidence = Evidence(0.0, has_control)
    for number, delta in enumerate(polls):
        evidence = verdict.look(evidence, delta, RULES, 30.0 * number)
        evidence = verdict.from_json(json.loads(json.dumps(evidence.to_json())))
    found = verdict.judge(evidence, RULES, now)
    assert found.outcome in found.sentence
    assert "\n" not in found.sentence
    if found.outcome == "pass":
        assert evidence.of("errors").canary.calls >= RULES.min_samples
        assert not evidence.restarted["canary"] or evidence.restarted["control"]
    done = verdict.act(found, evidence, RULES, now)
    assert (done.kind == "advance") == (found.outcome == "pass")
    assert not done.is_blamed or found.outcome == "fail"


@given(st.lists(deltas, max_size=6), st.sampled_from(["hold", "revert", "promote"]), st.floats(0, 20_000))
def test_without_traffic_nothing_is_promoted(polls, on_inconclusive, now):
    given_rules, evidence = rules(on_inconclusive=on_inconclusive), Evidence(0.0)
    for delta in polls:
        quiet = Counts(golden_calls=delta.canary.golden_calls, golden_errors=delta.canary.golden_errors)
        evidence = verdict.look(evidence, replace(delta, canary=quiet), given_rules, 600.0)
    assert verdict.act(verdict.judge(evidence, given_rules, now), evidence, given_rules, now).kind != "advance"


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: None,
        lambda data: {},
        lambda data: {**data, "since": "now"},
        lambda data: {**data, "since": float("nan")},
        lambda data: {**data, "broken": 1},
        lambda data: {**data, "before": [1, 2]},
        lambda data: {**data, "restarted": {"canary": "1", "control": 0}},
        lambda data: {**data, "gates": {"errors": {}}},
    ],
)
def test_evidence_that_no_controller_has_left_is_refused(bend):
    with pytest.raises(ValueError, match=r"^the (evidence|state)"):
        verdict.from_json(bend(seen((600, 1), (600, 2)).to_json()))


PASS = verdict.Verdict("pass", "n: pass")
FAIL = verdict.Verdict("fail", "n: fail", is_urgent=True)
OPEN = verdict.Verdict("inconclusive", "n: inconclusive")
DEAD = verdict.Verdict("inconclusive", "n: inconclusive, dead", is_urgent=True)
PERSON = "so it waits for a person"


@pytest.mark.parametrize(
    ("found", "waited", "changes", "expected"),
    [
        (PASS, 90, {}, ("advance", "n: pass", False, False)),
        (PASS, 90, {"auto_promote": False}, ("hold", f"n: pass; auto_promote is off, {PERSON}", False, False)),
        (FAIL, 1, {}, ("revert", "n: fail", True, True)),
        (FAIL, 1, {"auto_revert": False}, ("hold", f"n: fail; auto_revert is off, {PERSON}", True, True)),
        (OPEN, 599, {}, ("hold", "n: inconclusive", False, False)),
        (DEAD, 1, {}, ("hold", "n: inconclusive, dead", True, False)),
        (
            OPEN,
            600,
            {},
            ("revert", "n: inconclusive; taken back at progress_deadline (600 s), without blame", True, False),
        ),
        (
            OPEN,
            600,
            {"auto_revert": False},
            ("hold", f"n: inconclusive; at progress_deadline (600 s); auto_revert is off, {PERSON}", False, False),
        ),
        (OPEN, 89, {"on_inconclusive": "revert"}, ("hold", "n: inconclusive", False, False)),
        (
            OPEN,
            90,
            {"on_inconclusive": "revert"},
            ("revert", "n: inconclusive; taken back after 90 s, without blame", True, False),
        ),
        (OPEN, 599, {"on_inconclusive": "promote"}, ("hold", "n: inconclusive", False, False)),
        (
            OPEN,
            600,
            {"on_inconclusive": "promote"},
            ("advance", "n: inconclusive; goes on at the deadline, as on_inconclusive says", False, False),
        ),
        (
            DEAD,
            600,
            {"on_inconclusive": "promote"},
            ("revert", "n: inconclusive, dead; taken back at progress_deadline (600 s), without blame", True, False),
        ),
        (
            replace(OPEN, has_traffic=False),
            600,
            {"on_inconclusive": "promote"},
            ("revert", "n: inconclusive; taken back at progress_deadline (600 s), without blame", True, False),
        ),
    ],
)
def test_what_follows_from_a_verdict(found, waited, changes, expected):
    done = verdict.act(found, Evidence(1000.0), rules(**changes), 1000.0 + waited)
    assert (done.kind, done.sentence, done.is_share_zero, done.is_blamed) == expected


def test_nothing_is_promoted_while_a_source_is_broken():
    given = rules(on_inconclusive="promote")
    blind = replace(Evidence(1000.0), broken="gateway edge-1 does not answer")
    done = verdict.act(OPEN, blind, given, 1600.0)
    assert (done.kind, done.is_blamed) == ("revert", False)
    assert done.sentence == "n: inconclusive; taken back at progress_deadline (600 s), without blame"


# --- whole roll-outs. The canary's share of 1 % is two calls a second.

WISH = wish(slow_share_over="100ms")


def ends(name, canary, control, runs=RUNS, wished=WISH):
    arms = {"canary": canary, "control": control}
    return [whole(f"{name} {seed}", wished, 200.0, arms) for seed in range(runs)]


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.05])
def test_a_version_beside_itself_is_seldom_reverted(rate):
    found = ends(f"alike {rate}", Rates(rate, 0.005), Rates(rate, 0.005))
    # At most 1 % of 1,000; of a sample of 100 the same seeds show at most two.
    assert share(found, ": fail:") <= (0.01 if RUNS >= 1000 else 0.02)
    # And most of them come through: a verdict that is never wrong because it never passes helps nobody.
    assert found.count("pass") >= 0.95 * RUNS


@pytest.mark.parametrize(("bad", "good"), [(0.01, 0.001), (0.2, 0.02), (0.5, 0.001)])
def test_ten_times_the_errors_are_caught(bad, good):
    found = ends(f"ten {bad}", Rates(bad, 0.005), Rates(good, 0.005))
    assert share(found, ": fail:") > 0.95
    # At the first step, where one call in a hundred reaches it.
    assert share(found, "1 %: fail:") > 0.95


def test_a_fault_of_everything_reverts_nothing():
    assert share(ends("down", Rates(0.9), Rates(0.9)), ": fail:") <= 0.02


def test_a_tail_three_times_as_thick_is_caught():
    assert share(ends("slow", Rates(0.001, 0.03), Rates(0.001, 0.01)), ": fail:") > 0.9
