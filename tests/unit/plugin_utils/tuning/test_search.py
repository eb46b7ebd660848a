# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice, physics, search, seeds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Options, Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed
from batch_server import BatchServer
from tuning_cases import (
    DOES_NOT_PAY,
    FIXED_COST,
    LONG,
    PAYS,
    READING,
    as_predicted,
    measured,
    run,
    searched,
    searched_on,
    site,
    site_of,
    turned,
)


def rungs(found: Search) -> list[str]:
    return [told.trial.rung for told in found.history]


def explored(found: Search) -> set:
    return {told.trial.setting for told in found.history}


def test_baseline_then_plan_then_physics_then_steps():
    place = site()
    found = searched(place, as_predicted(place))
    origins = [told.trial.origin for told in found.history if told.trial.rung == "explore"]
    assert origins[:2] == ["default", "plan"]
    order = ["default", "plan", "physics", "search"]
    assert [order.index(origin) for origin in origins] == sorted(order.index(origin) for origin in origins)
    assert "search" in origins


def test_at_most_as_many_settings_as_allowed():
    place = site()
    found = searched(place, as_predicted(place), dataclasses.replace(LONG, most=6))
    assert len(explored(found)) == 6


def test_the_best_half_is_confirmed_and_three_take_turns_at_the_end():
    place = site()
    found = searched(place, as_predicted(place), dataclasses.replace(LONG, budget_s=1e6))
    times = {rung: [told.trial for told in found.history if told.trial.rung == rung] for rung in set(rungs(found))}
    assert {trial.stage_s for trial in times["explore"]} == {10}
    assert {trial.stage_s for trial in times["confirm"]} == {60}
    half = (len(times["explore"]) + 1) // 2
    assert half <= len(times["confirm"]) <= half + 2
    finals = [trial.setting for trial in times["final"]]
    assert len(finals) == 9
    assert finals[:3] == finals[3:6] == finals[6:]
    assert place.planned in finals
    assert [trial.repeat for trial in times["final"]] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_no_setting_is_measured_twice_but_by_these_rules():
    place = site()
    found = searched(place, as_predicted(place, noise=0.02))
    counts = Counter((told.trial.setting, told.trial.rung, told.trial.repeat) for told in found.history)
    assert set(counts.values()) == {1}


def test_the_baseline_comes_again_after_five_trials():
    place = site()
    found = searched(place, as_predicted(place))
    gap = 0
    for told in found.history:
        gap = 0 if told.trial.setting == place.single else gap + 1
        assert gap <= 5
    assert "again" in rungs(found)


def test_next_stays_the_same_until_it_is_told():
    place = site()
    found = Search(place, seeds.seeds(place), LONG)
    first = found.next()
    assert found.next() is first
    with pytest.raises(ValueError, match="not the one that was asked for"):
        found.tell(dataclasses.replace(first, number=7), measured(100))
    found.tell(first, measured(100))
    assert found.next().number == 2


def test_a_drift_that_shows_twice_begins_the_comparison_anew():
    place = site()
    found = searched(place, as_predicted(place, speed=lambda number: 0.7 if number >= 5 else 1.0))
    assert len(found.drifts) == 1
    assert found.drifts[0].restarted
    (remark,) = [each for each in found.remarks if "baseline" in each]
    assert "(-30.0%)" in remark
    assert remark.endswith("the comparison began again")
    after = found.drifts[0].number
    again = [told.trial.setting for told in found.history if told.trial.number > after and told.trial.rung == "explore"]
    assert again[0] == place.planned
    best = max(found.history[:4], key=lambda told: told.rate).trial.setting
    assert best in again
    assert all(told.trial.number >= after for told in found.epoch.told)


def test_one_odd_measurement_of_the_baseline_is_no_drift():
    place = site()
    found = searched(place, as_predicted(place, speed=lambda number: 0.7 if number == 6 else 1.0))
    assert found.drifts == []
    assert rungs(found)[5:8].count("again") >= 1


def test_a_host_that_never_rests_is_not_compared_without_end():
    place = site()
    speeds = [1.0, 0.7, 1.4, 0.6, 1.5, 0.8, 1.6, 0.5, 1.4, 0.9]
    found = searched(place, as_predicted(place, speed=lambda number: speeds[min(9, number // 7)]))
    assert [drift.restarted for drift in found.drifts][:3] == [True, True, False]
    assert len(found.history) < 100
    assert any("figures are uncertain" in remark for remark in found.remarks)
    assert "uncertain" in choice.choose(found).reasons[-1]


def test_a_setting_that_cannot_win_is_to_be_stopped_early():
    place = site()
    found = Search(place, seeds.seeds(place), LONG)
    for rate in (1000, 2000):
        trial = found.next()
        assert trial.must_carry is None
        found.tell(trial, measured(rate))
    assert found.next().must_carry == 1600


def test_the_knee_to_begin_at_is_the_predicted_one_in_the_host_s_own_measure():
    place = site()
    found = Search(place, seeds.seeds(place), LONG)
    first = found.next()
    assert first.start_rate == first.predicted == place.predicted(place.single)
    found.tell(first, measured(first.predicted / 2))
    assert found.next().start_rate == pytest.approx(place.predicted(place.planned) / 2)


def test_no_batches_begin_far_beyond_what_any_have_carried():
    """Where something else than calls is the limit, physics knows nothing of it."""
    place = site(fixed_us=9000, item_us=20)
    found = Search(place, seeds.seeds(place), LONG)
    for _ in range(2):
        trial = found.next()
        assert trial.start_rate == trial.predicted
        found.tell(trial, measured(trial.predicted))
    batched = found.next()
    assert batched.predicted > 3 * found.history[1].rate
    assert batched.start_rate == 2 * found.history[1].rate


def test_once_the_plan_is_measured_batches_are_expected_to_cost_what_they_did_there():
    """What the server spends on each request of a batch shows in no service time."""
    place, truth = site(), site(fixed_us=1600, item_us=500)
    found = Search(place, seeds.seeds(place), LONG)
    for _ in range(2):
        trial = found.next()
        found.tell(trial, measured(truth.predicted(trial.setting)))
    batched = found.next().setting
    assert found.predicted(batched) == pytest.approx(truth.predicted(batched), rel=0.15)
    assert found.predicted(place.single) == pytest.approx(place.predicted(place.single))
    assert [each for each in found.remarks if each.startswith("predictions go by calls of ")]


def test_failed_trials_are_left_behind():
    place = site()
    ideal = as_predicted(place)

    def measure(trial):
        return Failed("failed", "the server did not start", 20) if trial.origin == "physics" else ideal(trial)

    found = searched(place, measure)
    kept = [told.trial.origin for told in found.history if told.trial.rung in ("confirm", "final")]
    assert "physics" not in kept
    assert choice.choose(found).setting is not None


def test_a_search_without_any_success_ends_and_says_so():
    place = site()
    found = searched(place, lambda trial: Failed("failed", "no route", 5))
    chosen = choice.choose(found)
    assert chosen.setting is None
    assert chosen.reasons == ("no setting of 5 could be measured, so nothing is known of the objective: no route",)


def test_the_least_budget_is_told():
    options = Options(budget_s=60, besides_s=8)
    with pytest.raises(WishError) as caught:
        search.check(options)
    assert str(caught.value) == (
        "budget: is 60 s, too short to compare the plan with one other setting; give at least 646 s"
    )
    search.check(Options(budget_s=646, besides_s=8))


@pytest.mark.parametrize("budget", [646, 900, 1800, 3600])
def test_a_budget_is_kept_and_ends_in_turns(budget):
    place = site()
    options = Options(budget_s=budget, besides_s=8)

    def measure(trial):
        expected_s = options.expected_s(trial.rung)
        if trial.rung == "turns":
            return turned(trial, seconds=expected_s)
        return measured(place.predicted(trial.setting), seconds=expected_s)

    found = searched(place, measure, options)
    assert found.spent_s <= budget
    # At the least budget there is time for no other setting than the plan, which is the best of the two.
    assert ("turns" in rungs(found)) == (budget > 646)
    assert "turns" not in rungs(found)[:-1]
    assert {place.single, place.planned} <= explored(found)
    assert choice.choose(found).setting is not None


def test_whatever_a_trial_takes_the_turns_are_left():
    place = site()
    found = Search(place, seeds.seeds(place), Options(budget_s=1000, besides_s=8))
    assert (found.left_for("explore"), found.left_for("turns")) == (1000 - 446, 1000)
    found.tell(found.next(), measured(1000, seconds=700))
    assert (found.left_for("explore"), found.left_for("turns")) == (0, 300)


def test_whatever_is_searched_the_shards_are_left():
    place = site()
    options = Options(budget_s=1000, besides_s=8, cuts_s=200)
    found = Search(place, seeds.seeds(place), options)
    assert found.cuts_s == 210
    assert (found.left_for("explore"), found.left_for("turns")) == (1000 - 446 - 210, 790)
    # What a restart took is known better once there was one.
    found.tell(found.next(), dataclasses.replace(measured(1000, seconds=100), change_s=4))
    assert (found.cuts_s, found.left_for("turns")) == (204, 696)


@pytest.mark.parametrize("budget", [856, 1200, 3600])
def test_a_search_ends_before_the_time_of_the_shards(budget):
    place = site()
    options = Options(budget_s=budget, besides_s=8, cuts_s=200)

    def measure(trial):
        expected_s = options.expected_s(trial.rung)
        if trial.rung == "turns":
            return turned(trial, seconds=expected_s)
        return measured(place.predicted(trial.setting), seconds=expected_s)

    found = searched(place, measure, options)
    assert found.left_s >= found.cuts_s == 210
    assert {place.single, place.planned} <= explored(found)


def test_the_least_budget_has_time_for_the_shards():
    with pytest.raises(WishError) as caught:
        search.check(Options(budget_s=855, besides_s=8, cuts_s=200))
    assert str(caught.value) == (
        "budget: is 855 s, too short to compare the plan with one other setting and to measure shards; give at least"
        " 856 s"
    )
    search.check(Options(budget_s=856, besides_s=8, cuts_s=200))


def test_the_turns_come_last_at_a_rate_between_the_two_knees():
    place = site()
    found = searched(place, as_predicted(place))
    last = found.history[-1].trial
    assert (last.rung, last.stage_s, rungs(found).count("turns")) == ("turns", 30, 1)
    best = choice.choose(found).evidence[0]
    assert (last.setting, last.start_rate) == (
        best.setting,
        pytest.approx(best.rate**0.25 * place.predicted(place.planned) ** 0.75),
    )


def test_a_plan_that_was_right_takes_no_turns():
    place = site()
    found = searched(place, lambda trial: measured(2000 if trial.setting == place.planned else 1000))
    assert "turns" not in rungs(found)
    assert choice.choose(found).verdict == "plan"


def grid(place):
    """All combinations."""
    settings = [
        dataclasses.replace(shaped, grpc=threads, rest=threads)
        for size in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
        for timeout in (0, 1000, 2500, 5000)
        for count in (1, 2, 3, 4)
        for room in (0.5, 1.0)
        for shaped in [physics.shaped(place, size, timeout, count, room)]
        for threads in (129, shaped.grpc)
    ]
    return list(dict.fromkeys([place.single, *settings]))


SERVERS = {"pays": PAYS, "does not pay": DOES_NOT_PAY, "fixed cost": FIXED_COST, "reading": READING}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_search_reaches_the_best_of_a_grid_with_a_tenth_of_its_runs(server: BatchServer):
    place = site_of(server)
    found = searched_on(server)
    every = grid(place)
    assert len(explored(found)) <= 20
    assert len(found.history) <= len(every) / 10
    _, most = server.best_of(every)
    chosen = choice.choose(found)
    assert server.knee(chosen.setting, start=most) >= 0.95 * most
    again = searched_on(server, run=1)
    repeated = choice.choose(again)
    assert repeated.verdict == chosen.verdict
    assert server.knee(repeated.setting, start=most) >= 0.95 * most
    for evidence in chosen.evidence:
        assert evidence.p99_high_us <= server.slo_us


@pytest.mark.parametrize(("budget_s", "share"), [(900, 0.7), (1800, 0.95)])
def test_a_short_search_keeps_its_budget_and_finds_most_of_what_there_is(budget_s, share):
    # Of docs/tuning.md: the model of three in which the plan is farthest from the best.
    found = searched_on(FIXED_COST, Options(budget_s=budget_s, besides_s=8))
    assert found.spent_s <= budget_s
    _, most = FIXED_COST.best_of(grid(found.site))
    chosen = choice.choose(found)
    assert chosen.verdict == "tuned"
    assert chosen.turns.verdict == "better"
    assert FIXED_COST.knee(chosen.setting, start=most) >= share * most


@pytest.mark.parametrize(("server", "seen"), [(FIXED_COST, 0.6), (PAYS, 0.8)], ids=["fixed cost", "pays"])
def test_a_plan_that_was_measured_too_low_does_not_spoil_the_turns(server: BatchServer, seen: float):
    place = site_of(server)
    found = Search(place, seeds.seeds(place), Options(budget_s=1800, besides_s=8))

    def measure(trial):
        if trial.rung == "turns":
            return server.turns(trial, place.planned)
        outcome = server.measure(trial, left_s=found.left_for(trial.rung))
        if trial.setting != place.planned:
            return outcome
        lower = {name: getattr(outcome, name) * seen for name in ("rate", "low", "high")}
        return dataclasses.replace(outcome, **lower)

    # Both sides keep the objective where the turns would begin, and the plan has the lower p99 there.
    chosen = choice.choose(run(found, measure))
    assert chosen.verdict == "tuned"
    assert chosen.turns.verdict == "better"
    assert server.knee(chosen.setting) > server.knee(place.planned)


def test_no_batching_where_batches_do_not_pay():
    found = searched_on(DOES_NOT_PAY)
    chosen = choice.choose(found)
    assert chosen.verdict == "no batching"
    assert chosen.setting == found.site.single
    assert chosen.reasons[-1].endswith("so batches do not pay")
