# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The conductor of a roll-out, over fleets in simulated time: what it does, in which order, and what it never does."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import conduct, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from simulated_queue import AT_LENGTH
from simulated_rollout import Rates, wish
from simulated_watch import (
    GOOD,
    START,
    Fleet,
    KilledError,
    begun,
    raised_without_record,
    rolled,
    rolled_with_kills,
)

SIZES = (1, 2, 3, 200)
BAD = {
    "failing": Rates(0.2, 0.2),
    "dead": Rates(1.0, 1.0),
    "slow": Rates(0.002, 0.2),
}


def arms(rates):
    return lambda arm, _at: rates if arm == "canary" else GOOD


def shares(fleet):
    return [value for what, value, _at in fleet.acts if what == "share"]


def stages(fleet):
    return [value.stage for what, value, _at in fleet.acts if what == "record"]


def test_a_damaged_evidence_is_refused():
    with pytest.raises(WishError) as refused:
        rolled(Fleet(), begun(evidence={"since": 1.0}))
    assert (
        str(refused.value) == "state: the evidence of a step is not complete; take the roll-out back with rollback.yml"
    )


@pytest.mark.parametrize("hosts", SIZES)
def test_a_good_version_gets_all_steps(hosts):
    fleet = Fleet(hosts=hosts)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.stage, ended.state.reverted) == ("rest", "rest", {})
    assert shares(fleet) == [10, 50, 250, 500, 1000]
    assert raised_without_record(fleet) == []
    assert all(record == ended.state for record in fleet.records.values())
    # Each step takes interval and min_healthy_time at least.
    assert fleet.passed_s > 5 * 90


@pytest.mark.parametrize("hosts", SIZES)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_version_loses_its_share_first_and_is_remembered(hosts, kind):
    fleet = Fleet(hosts=hosts, rates=arms(BAD[kind]))
    ended = rolled(fleet)
    assert (ended.ended, ended.state.stage, ended.missed) == ("reverting", "reverting", ())
    assert ended.state.reverted.keys() == {"8"}
    assert "fail, more than chance explains" in ended.sentence
    assert "canary" in ended.sentence
    assert fleet.shares == {"edge-1": 0, "edge-2": 0}
    assert raised_without_record(fleet) == []
    (what, share, _), (then, state, _) = fleet.acts[-2:]
    assert (what, share, then, state.stage) == ("share", 0, "record", "reverting")
    took = [line for line in fleet.lines if "share is 0 after" in line]
    assert float(took[0].rsplit(" ", 2)[1]) < 2


def test_lines_for_people_have_the_numbers():
    fleet = Fleet(rates=arms(BAD["dead"]))
    rolled(fleet)
    assert fleet.lines[0] == "ranker 7 -> 8, 1 %: from now on 10 of 1,000 calls go to the canary"
    assert fleet.lines[1] == "ranker 7 -> 8, 1 %: calls count after 30 s (min_healthy_time)"
    assert "of 500 calls that it takes (min_samples)" in fleet.lines[2]
    assert fleet.lines[-1].startswith("ranker 7 -> 8, 1 %: errors: canary ")
    assert fleet.lines[-1].endswith("; the canary's share is 0 after 0.7 s")


def test_a_restart_of_the_canary_fails():
    fleet = Fleet(crashes=(100.0,))
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted.keys()) == ("reverting", {"8"})
    assert "the canary's server began anew once and the control's did not" in ended.sentence
    assert fleet.passed_s < 110


def test_a_canary_that_dies_of_its_first_call_fails():
    # The first look at its process comes before the share.
    fleet = Fleet(crashes=(1.2,))
    assert rolled(fleet).ended == "reverting"
    assert fleet.passed_s < 10


def test_a_canary_that_crashes_again_and_again_fails_at_the_first_time():
    fleet = Fleet(crashes=tuple(range(40, 400, 7)))
    ended = rolled(fleet)
    assert (ended.ended, fleet.passed_s < 50) == ("reverting", True)


def test_restarts_of_both_arms_blame_nobody():
    fleet = Fleet(crashes=(100.0,), crashed_arms=("canary", "control"))
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted) == ("reverting", {})
    assert "servers of both arms began anew" in ended.sentence


@pytest.mark.parametrize("seed", range(5))
def test_a_version_that_fails_now_and_then_is_found(seed):
    fleet = Fleet(
        f"flapping {seed}",
        rates=lambda arm, at: Rates(0.6, 0.6) if arm == "canary" and at % 60 < 20 else GOOD,
    )
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted.keys()) == ("reverting", {"8"})


@pytest.mark.parametrize("seed", range(5))
def test_a_fault_of_both_arms_blames_nobody(seed):
    fleet = Fleet(f"both {seed}", rates=lambda _arm, _at: Rates(0.3, 0.3))
    ended = rolled(fleet)
    assert ended.state.reverted == {}
    assert ended.ended in ("rest", "reverting")


def test_a_version_that_is_slow_and_wrong_only_while_it_warms_up_passes():
    def rates(arm, at):
        return Rates(0.5, 1.0) if arm == "canary" and at < 28 else GOOD

    fleet = Fleet(rates=rates)
    assert rolled(fleet, steps=[10, 100]).ended == "rest"


# --- which calls are slow -------------------------------------------------------------------------------------


def latency(slower=1.0, mean=20.0):
    """Return latencies that fall off as those of a queue do; of the canary, all are slower by a factor."""
    return lambda draw, arm, _at: round(draw.expovariate(1 / mean) * (slower if arm == "canary" else 1))


def edges(fleet):
    return [line for line in fleet.lines if "count as slow" in line]


def test_the_edge_is_measured_once_and_holds_for_all_steps():
    fleet = Fleet(latency_ms=latency())
    ended = rolled(fleet)
    assert ended.ended == "rest"
    (said,) = edges(fleet)
    assert said.startswith("ranker 7 -> 8, 1 %: calls above ")
    # p99 of an exponential distribution is 4.6 times its mean.
    assert ended.state.edge_s == pytest.approx(0.092, abs=0.008)
    assert said.endswith(
        f"calls above {ended.state.edge_s * 1000:.0f} ms count as slow: {said.rpartition('slow: ')[2]}"
    )
    # The control has too few calls by then.
    assert "version 7's p99 of " in said
    passes = [line for line in fleet.lines if ": pass" in line]
    assert len(passes) == 5
    assert all(" ms: canary " in line for line in passes)


def test_the_controls_own_calls_give_the_edge_where_they_are_enough():
    fleet = Fleet(latency_ms=latency())
    assert rolled(fleet, steps=[25, 100]).ended == "rest"
    (said,) = edges(fleet)
    assert "ms count as slow: the control's p99 of " in said
    # Of a quarter of 400 calls a second, in the 30 s in which calls do not count.
    assert 2500 < int(said.rpartition("p99 of ")[2].partition(" ")[0].replace(",", "")) < 4000


@pytest.mark.parametrize("seed", range(5))
def test_a_version_that_is_slower_is_found_by_a_measured_edge(seed):
    fleet = Fleet(f"slower {seed}", latency_ms=latency(slower=2.0))
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted.keys()) == ("reverting", {"8"})
    assert "fail, more than chance explains (slower than " in ended.sentence


def test_calls_of_the_warm_up_make_the_edge_and_are_not_judged_by_it():
    fleet = Fleet(latency_ms=latency())
    seen = []

    def on_time(fleet):
        newest = states.newest(fleet.records.values())
        gates = newest and newest.step == 0 and newest.evidence and newest.evidence["gates"]
        if gates and gates["errors"]["canary"][0]:
            seen.append(gates)

    fleet.on_time = on_time
    rolled(fleet, steps=[50, 100])
    assert seen
    # Errors and slow calls are counted of the same calls.
    assert all(gates["slow"]["canary"][0] == gates["errors"]["canary"][0] for gates in seen)


def test_a_wished_edge_is_not_measured():
    fleet = Fleet(latency_ms=latency())
    ended = rolled(fleet, steps=[50, 100], slow_share_over="150ms")
    assert (ended.ended, ended.state.edge_s, edges(fleet)) == ("rest", None, [])
    assert fleet.edge_s == 0.15


def test_until_the_edge_is_known_slow_calls_are_not_judged_and_that_is_said():
    fleet = Fleet(calls_a_second=5.0, latency_ms=latency())
    ended = rolled(fleet, steps=[50, 100], progress_deadline="2h")
    assert ended.ended == "rest"
    assert next(line.rpartition("%: ")[2] for line in fleet.lines if "not judged" in line).startswith(
        "slow calls are not judged yet: p99 is withheld: it takes 459 requests to claim it, and there are "
    )
    assert len(edges(fleet)) == 1
    assert any("calls since it is known which ones are slow (min_samples)" in line for line in fleet.lines)
    (passed,) = [line for line in fleet.lines if "50 %" in line and line.endswith(": pass")]
    assert " ms: canary " in passed


def test_a_step_passes_without_an_edge_and_says_so():
    fleet = Fleet(latency_ms=latency())
    usual = fleet.read

    def read(edge_s):
        # A gateway without usable latencies.
        found = usual(edge_s)
        return {**found, "gateways": {**found["gateways"], "edge-2": {**found["gateways"]["edge-2"], "latencies": 1}}}

    fleet.read = read
    ended = rolled(fleet, steps=[50, 100])
    assert (ended.ended, ended.state.edge_s) == ("rest", None)
    told = [line for line in fleet.lines if "not judged" in line]
    assert told[0].endswith("slow calls are not judged yet: gateway edge-2 has no latencies that can be used")
    assert told[1].endswith(": pass, slow calls not judged")
    assert len(told) == 2


def test_a_single_step_of_everything_needs_no_edge():
    fleet = Fleet(latency_ms=latency())
    assert rolled(fleet, steps=[100]).ended == "rest"
    assert not [line for line in fleet.lines if "slow" in line]


def test_another_controller_judges_by_the_same_edge():
    fleet = Fleet("same edge", latency_ms=latency())

    def on_time(fleet):
        if fleet.passed_s > 70:
            fleet.on_time = lambda _fleet: None
            raise KilledError

    fleet.on_time = on_time
    ended, kills = rolled_with_kills(fleet)
    assert (ended.ended, kills, len(edges(fleet))) == ("rest", 1, 1)
    first = edges(fleet)[0].partition("above ")[2].partition(" ms")[0]
    assert ended.state.edge_s == int(first) / 1000
    # Those of the next roll-out begin without one.
    again = states.begin(replace(ended.state, stage="done"), "ranker", 8, 9, (1, 100), fleet.at, False)
    assert again.edge_s is None


# --- no traffic, golden requests ------------------------------------------------------------------------------


@pytest.mark.parametrize("wishes", [{}, {"on_inconclusive": "promote"}, {"on_inconclusive": "revert"}])
def test_without_traffic_nothing_is_promoted_and_nobody_is_blamed(wishes):
    fleet = Fleet(calls_a_second=0.0, has_golden=True)
    ended = rolled(fleet, **wishes)
    assert (ended.ended, ended.state.reverted, set(shares(fleet))) == ("reverting", {}, {10, 0})
    assert "no caller has reached the canary; taken back" in ended.sentence


def test_wrong_golden_answers_fail_without_traffic():
    fleet = Fleet(calls_a_second=0.0, has_golden=True, wrong_golden=1.0)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted.keys()) == ("reverting", {"8"})
    assert "wrong golden answers: canary " in ended.sentence
    assert "errors: canary 0/0, control 0/0" in ended.sentence


def test_golden_requests_are_sent_only_until_callers_are_enough():
    fleet = Fleet(has_golden=True)
    rolled(fleet, steps=[50, 100])
    assert fleet.records["edge-1"].stage == "rest"
    sent = []
    fleet = Fleet()
    fleet.golden = lambda calls: sent.append(fleet.passed_s) or {}
    rolled(fleet, steps=[50, 100])
    # At 200 calls a second, one or two looks of each step come before 500 calls.
    assert 0 < len(sent) <= 8


# --- waiting --------------------------------------------------------------------------------------------------


def test_a_pass_waits_for_a_person_without_auto_promote():
    fleet = Fleet()
    ended = rolled(fleet, auto_promote=False)
    assert (ended.ended, ended.state.held, ended.state.percent) == ("held", ended.sentence, 1)
    assert ended.sentence.endswith("auto_promote is off, so it waits for a person")
    assert set(fleet.shares.values()) == {10}


def test_a_failure_waits_for_a_person_without_auto_revert_and_without_share():
    fleet = Fleet(rates=arms(BAD["dead"]))
    ended = rolled(fleet, auto_revert=False)
    assert (ended.ended, ended.state.stage, ended.state.percent) == ("held", "share", 0)
    assert set(fleet.shares.values()) == {0}
    assert [what for what, *_ in fleet.acts[-2:]] == ["share", "record"]


def test_a_roll_out_that_waits_for_a_person_is_left_alone():
    fleet = Fleet()
    ended = rolled(fleet, begun(held="errors: pass; auto_promote is off, so it waits for a person"))
    assert (ended.ended, fleet.acts, fleet.lines) == ("held", [], [])


def test_another_stage_is_refused():
    with pytest.raises(WishError, match=r"^state: the stage canary of ranker has no traffic to judge$"):
        rolled(Fleet(), replace(begun(), stage="canary"))


def test_a_dead_version_without_a_control_loses_its_share_and_no_more():
    fleet = Fleet(rates=arms(BAD["dead"]))
    ended = rolled(fleet, steps=[100])
    assert (ended.ended, ended.state.reverted) == ("reverting", {})
    assert shares(fleet)[:2] == [1000, 0]
    # It waits for its deadline without a share, which a killed controller finds as well.
    assert states.newest(fleet.records.values()).is_share_zero
    first_zero = next(at for what, value, at in fleet.acts if (what, value) == ("share", 0))
    assert first_zero - START < 60
    assert fleet.passed_s >= 600


def test_the_watch_ends_where_the_next_step_has_other_hosts():
    fleet = Fleet()
    rules = verdict.rules(wish(), 0.1)
    ended = conduct.watch(begun(), rules, fleet, fleet.gateways, 0)
    assert (ended.ended, ended.state.step, ended.state.percent) == ("arms", 1, 5)
    # The share is raised by the watch that follows, once the hosts are ready.
    assert conduct.watch(ended.state, rules, fleet, fleet.gateways, 0).ended == "arms"
    assert shares(fleet) == [10]
    ended = conduct.watch(ended.state, rules, fleet, fleet.gateways, 1)
    assert (ended.ended, ended.state.percent, shares(fleet)) == ("arms", 25, [10, 50])


# --- sources that do not answer -------------------------------------------------------------------------------


def test_a_gateway_that_stops_answering_holds_and_what_it_counted_comes_later():
    fleet = Fleet(silent=lambda name, at: name == "edge-2" and 50 < at < 400)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted) == ("rest", {})
    assert any("gateway edge-2 does not answer; that says nothing about the version" in each for each in fleet.lines)
    raised = [at - START for what, value, at in fleet.acts if (what, value) == ("share", 50)]
    assert min(raised) > 400


def test_a_gateway_that_stays_away_ends_without_blame_and_is_named():
    fleet = Fleet(silent=lambda name, at: name == "edge-2" and at > 50)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted, ended.missed) == ("reverting", {}, ("edge-2",))
    assert any("; the canary's share is 0 but on edge-2 after " in line for line in fleet.lines)
    assert fleet.lines[-1].endswith(
        "not taken by edge-2 (no answer within 15 s), which may still send calls to the canary; stop it, or close the"
        " canary"
    )
    assert fleet.shares == {"edge-1": 0, "edge-2": 10}


def test_a_gateway_that_comes_back_loses_its_share_then():
    fleet = Fleet(rates=arms(BAD["dead"]))

    def silent(name, at):
        # Away from the moment of the verdict on, for 12 seconds.
        zero = [each for what, value, each in fleet.acts if (what, value) == ("share", 0)]
        return name == "edge-2" and bool(zero) and at + START < zero[0] + 12

    fleet.silent = silent
    ended = rolled(fleet)
    assert (ended.ended, ended.missed, set(fleet.shares.values())) == ("reverting", (), {0})


def test_a_gateway_that_does_not_take_its_share_keeps_the_step_from_passing():
    fleet = Fleet(silent=lambda name, at: name == "edge-2" and at < 200)
    ended = rolled(fleet)
    assert ended.ended == "rest"
    assert any("gateway edge-2 has not taken the share (no answer within 15 s)" in each for each in fleet.lines)
    assert min(at - START for what, value, at in fleet.acts if (what, value) == ("share", 50)) > 200


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize(("rates", "end"), [(lambda *_: GOOD, "rest"), (arms(BAD["failing"]), "reverting")])
def test_counters_that_begin_at_0_again_blame_nobody_and_hide_nothing(rates, end, is_told):
    fleet = Fleet("reloads", rates=rates, reloads=tuple(range(20, 2000, 33)), is_told=is_told)
    ended = rolled(fleet)
    assert ended.ended == end
    assert ended.state.reverted.keys() == ({"8"} if end == "reverting" else set())
    assert any("gateway edge-1 began to count anew" in line for line in fleet.lines) == is_told


@pytest.mark.parametrize(
    ("garbled", "fault"),
    [
        ({"errors": 10**9}, "gateway edge-2 counts more errors (1,000,000,000) than calls"),
        ({"calls": -1}, "gateway edge-2 has no count of calls of the canary"),
        ({"slow": "all"}, "gateway edge-2 has no count of slow of the canary"),
        ({"calls": 10**30}, "gateway edge-2 has no count of calls of the canary"),
    ],
)
def test_counters_that_cannot_be_hold_and_blame_nobody(garbled, fault):
    fleet = Fleet(garbled=lambda at: garbled if 50 < at < 300 else {})
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted) == ("rest", {})
    assert any(fault in line and "that says nothing about the version" in line for line in fleet.lines)
    assert min(at - START for what, value, at in fleet.acts if (what, value) == ("share", 50)) > 300
    stays = Fleet(garbled=lambda at: garbled if at > 50 else {})
    ended = rolled(stays, on_inconclusive="promote")
    assert (ended.ended, ended.state.reverted, set(stays.shares.values())) == ("reverting", {}, {0})


def test_a_canary_host_that_cannot_be_asked_holds_and_blames_nobody():
    fleet = Fleet(hosts=3, unseen=lambda name, at: name == "gpu-0" and 50 < at < 300)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted) == ("rest", {})
    assert any("server gpu-0.ranker does not answer; that says nothing about the version" in x for x in fleet.lines)
    assert min(at - START for what, value, at in fleet.acts if (what, value) == ("share", 50)) > 300
    fleet = Fleet(hosts=3, unseen=lambda name, at: name == "gpu-0" and at > 50)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted, set(fleet.shares.values())) == ("reverting", {}, {0})


def test_a_canary_that_died_while_its_host_could_not_be_asked_fails_afterwards():
    fleet = Fleet(hosts=3, crashes=(100.0,), unseen=lambda name, at: name == "gpu-0" and 90 < at < 200)
    ended = rolled(fleet)
    assert (ended.ended, ended.state.reverted.keys()) == ("reverting", {"8"})
    assert "the canary's server began anew once" in ended.sentence
    assert 200 < fleet.passed_s < 220


def test_a_restart_of_the_control_alone_stops_nothing():
    fleet = Fleet(crashes=(100.0,), crashed_arms=("control",))
    assert rolled(fleet).ended == "rest"


def test_no_share_is_raised_while_most_hosts_cannot_record_it():
    fleet = Fleet(hosts=3, silent=lambda name, _at: name.startswith("gpu"))
    with pytest.raises(WishError) as refused:
        rolled(fleet)
    assert str(refused.value) == (
        "rollout: most hosts cannot record the roll-out of ranker, so no share is raised; bring them up and run it"
        " again"
    )
    assert shares(fleet) == []


def test_a_step_that_most_hosts_cannot_record_waits():
    fleet = Fleet(hosts=3, silent=lambda name, at: name.startswith("gpu") and 60 < at < 300)
    ended = rolled(fleet)
    assert ended.ended == "rest"
    assert any("waits until most hosts can record it" in line for line in fleet.lines)
    assert min(at - START for what, value, at in fleet.acts if (what, value) == ("share", 50)) > 300
    assert raised_without_record(fleet) == []


# --- other controllers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_written", [True, False])
@pytest.mark.parametrize(("rates", "end"), [(lambda *_: GOOD, "rest"), (arms(BAD["failing"]), "reverting")])
def test_a_controller_that_is_killed_at_any_record_ends_in_the_same_place(rates, end, is_written):
    fleet = Fleet("killed", rates=rates)
    rolled(fleet)
    records = fleet.made
    assert records > 3
    for number in range(1, records + 1):
        fleet = Fleet("killed", rates=rates, kill_at=number, is_written=is_written)
        ended, kills = rolled_with_kills(fleet)
        assert (ended.ended, kills) == (end, 1), number
        assert raised_without_record(fleet) == [], number
        assert ended.state.reverted.keys() == ({"8"} if end == "reverting" else set())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("rates", "end"), [(lambda *_: GOOD, "rest"), (arms(BAD["failing"]), "reverting")])
def test_a_controller_that_is_killed_at_any_moment_ends_in_the_same_place(rates, end, seed):
    draw = random.Random(f"moment {seed}")
    moment = draw.uniform(0, 480 if end == "rest" else 120)

    def on_time(fleet):
        if fleet.passed_s >= moment:
            fleet.on_time = lambda _fleet: None
            raise KilledError

    fleet = Fleet(f"killed {seed}", rates=rates, on_time=on_time)
    ended, kills = rolled_with_kills(fleet)
    assert (ended.ended, kills <= 1) == (end, True)
    assert raised_without_record(fleet) == []
    assert set(fleet.shares.values()) == ({1000} if end == "rest" else {0})


def rollback(fleet):
    newest = states.newest(fleet.records.values())
    state = states.rollback(newest, "ranker", "by hand", fleet.at)
    fleet.records = dict.fromkeys(fleet.members, state)
    fleet.shares = dict.fromkeys(fleet.gateways, 0)


@pytest.mark.parametrize("moment", [0.1, 1.0, 1.5, 2.0, 3.0, 60.0, 93.0, 97.2, 98.0, 99.0, 300.0])
def test_a_rollback_in_between_wins(moment):
    done = []

    def on_time(fleet):
        if fleet.passed_s >= moment and fleet.records and not done:
            done.append(len(fleet.acts))
            rollback(fleet)

    fleet = Fleet(on_time=on_time)
    ended = rolled(fleet)
    assert ended.ended == "overtaken"
    assert ended.sentence == (
        "another run took over the roll-out of ranker (generation 2, this is 1); let that one finish"
    )
    assert set(fleet.shares.values()) == {0}
    assert {each.stage for each in fleet.records.values()} == {"reverting"}
    assert len(fleet.lines) == len(set(fleet.lines))
    # At most one share that was on its way, which is taken back within two seconds.
    later = [(value, at) for what, value, at in fleet.acts[done[0] :] if what == "share"]
    assert [value for value, _at in later][-1:] in ([], [0])
    assert len(later) <= 2
    assert not later or later[-1][1] - later[0][1] < 3


def test_two_controllers_of_one_generation_do_not_both_go_on():
    fleet = Fleet()

    def on_time(fleet):
        if fleet.passed_s > 50:
            state = replace(fleet.records["edge-1"], revision=1000)
            fleet.records["edge-1"] = state

    fleet.on_time = on_time
    ended = rolled(fleet)
    assert (ended.ended, ended.sentence) == (
        "overtaken",
        "another run writes the roll-out of ranker beside this one (generation 1, revision 1000); let that one finish",
    )


# --- how often it is wrong, over whole watches: gateways, records and looks as in a real one. test_verdict.py makes
# more runs, of the verdicts alone.

WATCHES = 100 if AT_LENGTH else 6


def ends(name, canary, control):
    """Return how watches end of a model with 200 calls a second, of which the first step's share is two."""
    rates = {"canary": canary, "control": control}
    fleets = [
        Fleet(f"{name} {seed}", calls_a_second=200.0, rates=lambda arm, _at: rates[arm]) for seed in range(WATCHES)
    ]
    return [rolled(fleet, progress_deadline="1h") for fleet in fleets]


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.05])
def test_a_version_beside_itself_is_seldom_blamed(rate):
    found = ends(f"alike {rate}", Rates(rate, 0.005), Rates(rate, 0.005))
    assert sum(bool(each.state.reverted) for each in found) <= 0.01 * WATCHES
    assert sum(each.ended == "rest" for each in found) >= 0.95 * WATCHES


@pytest.mark.parametrize(("bad", "good"), [(0.01, 0.001), (0.2, 0.02), (0.5, 0.001)])
def test_ten_times_the_errors_are_blamed_in_the_first_step(bad, good):
    found = ends(f"ten {bad}", Rates(bad, 0.005), Rates(good, 0.005))
    blamed = [each for each in found if each.state.reverted and each.state.step == 0]
    assert len(blamed) > 0.95 * WATCHES


@pytest.mark.parametrize(("slower", "is_blamed", "watches"), [(1.0, False, WATCHES // 4), (1.5, True, WATCHES // 4)])
def test_by_a_measured_edge_a_slower_version_is_blamed_and_one_beside_itself_is_not(slower, is_blamed, watches):
    fleets = [
        Fleet(f"edge {slower} {seed}", calls_a_second=200.0, rates=lambda *_: Rates(0.001), latency_ms=latency(slower))
        for seed in range(watches)
    ]
    found = [rolled(fleet, progress_deadline="1h") for fleet in fleets]
    assert sum(bool(each.state.reverted) == is_blamed for each in found) >= 0.95 * watches
    assert sum(each.ended == "rest" for each in found) == (0 if is_blamed else watches)
