# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The course of a roll-out through fleets of any size: rounds, resumption from each stage, refusals before traffic."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import course, plan, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.course import Fleet
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.state import State
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy, read
from planner_cases import instance, model

NOW = 1000.0
EDGES = ["edge-1", "edge-2"]


def wishes(version: int = 8, name: str = "ranker", **rollout: Any) -> dict[str, Any]:
    """Return the models of a host by name, of which one has a roll-out."""
    models = [model(name=name, version=version, rollout=rollout)]
    return read.read([instance(models=[name])], models, policy.complete(None)).models


def wish(version: int = 8, **rollout: Any) -> Any:
    return wishes(version, **rollout)["ranker"]


def fleet(count: int, version: int = 7, **changes: Any) -> Fleet:
    hosts = [f"h{number:03}" for number in range(1, count + 1)]
    whole = Fleet({host: ["ranker"] for host in hosts}, {host: [version] for host in hosts}, EDGES)
    return replace(whole, **changes)


def refused(wished: Any, hosts: Fleet, last: State | None) -> str:
    def attempt() -> None:
        course.refuse_gateways(wished, hosts)
        course.rounds(wished, hosts, course.opened(wished, hosts, last, NOW))

    with pytest.raises(WishError) as caught:
        attempt()
    return str(caught.value)


def begun(count: int = 4, **rollout: Any) -> State:
    return course.opened(wish(**rollout), fleet(count), None, NOW)


def test_a_roll_out_begins_with_the_version_that_most_hosts_serve():
    hosts = fleet(5)
    mixed = {**hosts.in_force, "h004": [8], "h005": [6]}
    state = course.opened(wish(), replace(hosts, in_force=mixed), None, NOW)
    assert (state.old, state.new, state.stage, state.generation) == (7, 8, "prepare", 1)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        # Places of steps, hosts of the canary's arm, hosts of the control, sizes of the batches that load the version.
        (2, [((0, 3), 1, 1, [1]), ((4, 4), 2, 0, [1])]),
        (3, [((0, 2), 1, 1, [1]), ((3, 3), 2, 1, [1]), ((4, 4), 3, 0, [1])]),
        (4, [((0, 2), 1, 1, [1]), ((3, 3), 2, 2, [1]), ((4, 4), 4, 0, [1, 1])]),
        (
            200,
            [
                ((0, 0), 2, 2, [1, 1]),
                ((1, 1), 10, 10, [8]),
                ((2, 2), 50, 50, [40]),
                ((3, 3), 100, 100, [50]),
                ((4, 4), 200, 0, [50, 50]),
            ],
        ),
    ],
)
def test_steps_with_the_same_arms_are_one_round(count, expected):
    left = course.rounds(wish(), fleet(count), begun(count))
    found = [
        ((each.first, each.last), len(each.canary), len(each.control), [len(batch) for batch in each.batches])
        for each in left
    ]
    assert found == expected
    assert all(each.is_gated and each.is_watched for each in left)
    loaded = [host for each in left for batch in each.batches for host in batch]
    assert sorted(loaded) == sorted(fleet(count).serving)
    for before, after in zip(left, left[1:]):
        assert set(before.canary) < set(after.canary)
    for each in left:
        assert not set(each.canary) & set(each.control)


def test_a_fleet_of_one_host_goes_in_one_step_without_leaving_the_traffic():
    state = course.opened(wish(steps=[100]), fleet(1), None, NOW)
    (only,) = course.rounds(wish(steps=[100]), fleet(1), state)
    assert (only.canary, only.control, only.batches) == (("h001",), (), (("h001",),))
    assert not only.is_gated


def test_a_fleet_without_gateways_goes_in_one_step_that_nobody_watches():
    hosts, wished = fleet(3, gateways=[]), wish(steps=[100])
    course.refuse_gateways(wished, hosts)
    (only,) = course.rounds(wished, hosts, course.opened(wished, hosts, None, NOW))
    assert not only.is_watched
    assert only.batches == (("h001",), ("h002",), ("h003",))


def test_hosts_that_have_the_version_do_not_load_it_again():
    hosts = fleet(4)
    hosts = replace(hosts, in_force={**hosts.in_force, "h001": [7, 8]})
    first = course.rounds(wish(), hosts, begun())[0]
    assert first.batches == ()


def test_a_batch_is_as_large_as_the_inventory_says():
    left = course.rounds(wish(steps=[100]), fleet(8, serial=[1, "50%"]), begun(8, steps=[100]))
    assert [len(batch) for batch in left[0].batches] == [1, 1, 4, 2]


LIMITS = [
    "  a step that passes shows this much and no more:",
    *(f"    {each}" for each in plan.limits(wish().rollout, verdict.rules(wish().rollout))),
]


def test_hosts_that_are_down_are_left_out_and_told():
    hosts = fleet(4, down=["h002"])
    state = course.opened(wish(), hosts, None, NOW)
    left = course.rounds(wish(), hosts, state)
    assert all("h002" not in (*each.canary, *each.control) for each in left)
    assert announced(wish(), hosts, state) == [
        "ranker 7 -> 8: being prepared",
        "  1 %, 5 % and 25 %: h001, compared with h004",
        "    at least 90 s and 509 calls of each arm per step (50,900, 10,180 and 2,036 in all)",
        "  50 %: h001, h003, compared with h004",
        "    at least 90 s and 509 calls of each arm (1,018 in all)",
        "  100 %: h001, h[003:004]",
        "    at least 90 s and 509 calls",
        "  1 % takes 90 calls a second of the whole model; with fewer it ends without a verdict at progress_deadline"
        " (10 min)",
        *LIMITS,
        "  1 host left out: h002; run rollout.yml again once it is back",
    ]


def announced(wished: Any, hosts: Fleet, state: State) -> list[str]:
    return course.announced(hosts, state, course.rounds(wished, hosts, state), wished).splitlines()


def test_a_run_that_goes_on_announces_what_is_left():
    state = course.opened(wish(), fleet(4), at("share", step=2, ready=2), NOW)
    assert announced(wish(), fleet(4), state)[1:3] == [
        "  25 %: h001, compared with h004",
        "    at least 90 s and 509 calls of each arm (2,036 in all)",
    ]
    assert announced(wish(), fleet(4), state)[-5:] == [
        "  25 % takes 4 calls a second of the whole model; with fewer it ends without a verdict at progress_deadline"
        " (10 min)",
        *LIMITS,
    ]


def test_what_nobody_watches_takes_no_calls():
    hosts, wished = fleet(3, gateways=[]), wish(steps=[100])
    state = course.opened(wished, hosts, None, NOW)
    assert announced(wished, hosts, state) == ["ranker 7 -> 8: being prepared", "  100 %: h[001:003]"]


def test_a_deadline_too_short_for_the_looks_of_a_comparison_is_refused_before_anything_begins():
    assert refused(wish(progress_deadline="95s"), fleet(4), None) == (
        "tfserving_models[0].rollout.progress_deadline: is 95 s, and at 1 % it takes 110 s to find a version of which"
        " every call fails: min_healthy_time, and 16 looks of 5 s; set it to 110s or more"
    )
    # What is being taken back needs no deadline.
    assert course.rounds(wish(progress_deadline="95s"), fleet(4), at("reverting")) == []


def at(stage: str, **changes: Any) -> State:
    return replace(begun(), stage=stage, generation=3, revision=9, **changes)


@pytest.mark.parametrize(
    ("state", "stage", "firsts", "hosts"),
    [
        (at("prepare"), "prepare", [0, 3, 4], "both"),
        (at("canary"), "canary", [0, 3, 4], "both"),
        (at("share", step=1, ready=2), "share", [0, 3, 4], "both"),
        (at("share", step=3, ready=2), "share", [3, 4], "both"),
        (at("share", step=4, ready=4), "share", [4], "both"),
        (at("share", step=3, ready=3, held="no traffic", is_share_zero=True), "share", [3, 4], "both"),
        (at("rest", step=4), "rest", [], "new"),
        (at("reverting"), "reverting", [], "old"),
    ],
)
def test_a_run_goes_on_where_the_last_one_ended(state, stage, firsts, hosts):
    again = course.opened(wish(), fleet(4), state, NOW + 60)
    assert (again.stage, again.generation, again.held) == (stage, 4, "")
    assert again.revision == (2 if state.held else 1)
    left = course.rounds(wish(), fleet(4), again)
    assert [each.first for each in left] == firsts
    assert set(course.stages_of_hosts(fleet(4), again).values()) == {hosts}


def test_the_canary_stays_where_it_was_although_others_are_first_now():
    state = at("share", arms={"canary": ("h003",), "control": ("h004",)}, ready=2)
    left = course.rounds(wish(), fleet(4), course.opened(wish(), fleet(4), state, NOW))
    assert left[0].canary == ("h003",)
    assert course.rounds(wish(), fleet(4, down=["h003"]), state)[0].canary == ("h001",)


@pytest.mark.parametrize("count", [4, 8, 200])
def test_a_host_that_did_not_load_the_version_for_the_last_step_loads_it_in_the_next_run(count):
    every = list(fleet(count).serving)
    failed = every[-2]
    in_force = {host: [7] if host in every[-2:] else [7, 8] for host in every}
    # The gateways have learnt the arms of the last step; two hosts never came to load the version for it.
    last = at("share", step=4, ready=3, held=f"{failed}: no room", arms={"canary": tuple(every), "control": ()})
    hosts = fleet(count, in_force=in_force)
    left = course.rounds(wish(), hosts, course.opened(wish(), hosts, last, NOW))
    loading = {host for each in left for batch in each.batches for host in batch}
    assert loading == {failed, every[-1]}


def test_steps_may_change_until_the_first_share():
    wished = wish(steps=[10, 100])
    assert course.opened(wished, fleet(4), at("canary"), NOW).steps == (10, 100)
    assert course.opened(wished, fleet(4), at("share"), NOW).steps == (1, 5, 25, 50, 100)


def test_before_anything_serves_it_another_version_takes_its_place():
    state = course.opened(wish(9), fleet(4), at("prepare"), NOW)
    assert (state.new, state.stage, state.generation) == (9, "prepare", 4)


def test_hosts_that_were_down_follow_the_others_without_steps():
    hosts = fleet(4, 8)
    hosts = replace(hosts, in_force={**hosts.in_force, "h002": [7]})
    state = course.opened(wish(), hosts, at("done"), NOW)
    assert (state.old, state.new, state.stage) == (7, 8, "rest")
    assert course.rounds(wish(), hosts, state) == []


def test_a_host_that_missed_two_roll_outs_does_not_change_what_a_rollback_goes_back_to():
    hosts = fleet(4, 8)
    hosts = replace(hosts, in_force={**hosts.in_force, "h002": [6]})
    state = course.opened(wish(), hosts, at("done"), NOW)
    assert state.stage == "rest"
    done = course.after("finish", state, "", NOW)
    assert course.taken_back("ranker", done, "wrong scores", NOW).serving == 7


@pytest.mark.parametrize("stage", ["rest", "reverting"])
def test_a_roll_out_does_not_end_without_hosts_that_may_serve_both_versions(stage):
    hosts = fleet(3, limit=["h001", "h002", *EDGES])
    arms = {"canary": ("h001", "h002", "h003"), "control": ()}
    sentence = f"is at the stage {stage}, which takes every host, and this run's limit leaves out h003; run without"
    assert sentence in refused(wish(), hosts, at(stage, step=4, ready=4, arms=arms))
    # Hosts that follow the others when all is over are as good alone.
    later = replace(hosts, in_force={"h001": [7], "h002": [8]})
    assert course.rounds(wish(), later, course.opened(wish(), later, at("done", step=4), NOW)) == []


def test_a_person_takes_a_step_as_passed():
    assert course.promoted(at("share", step=2), NOW).step == 3
    assert course.promoted(at("share", step=4), NOW).stage == "rest"
    with pytest.raises(WishError, match=r"^promote: has nothing to pass: no step of ranker has traffic"):
        course.promoted(at("canary"), NOW)


def test_a_lower_version_answers_only_where_it_is_alone():
    assert course.loading(begun()) == "both"
    assert course.loading(course.opened(wish(6), fleet(4), None, NOW)) == "new"


@pytest.mark.parametrize(
    ("wished", "hosts", "last", "sentence"),
    [
        (
            wish(),
            fleet(1),
            None,
            "tfserving_models[0].rollout.steps: has a step of 1 %, and only h001 serves the model,",
        ),
        (
            wish(),
            fleet(1, serving={"h001": ["a", "b"]}),
            None,
            "and only h001 serves the model, which cannot be split; add a host, or set it to [100]",
        ),
        (
            wish(),
            fleet(4, gateways=[]),
            None,
            "tfserving_models[0].rollout.steps: shares the traffic, and the inventory has no gateway that could;"
            " add hosts to the group tfserving_gateways, or set steps to [100]",
        ),
        (
            wish(),
            fleet(4, down=["edge-2"]),
            None,
            "tfserving_models[0].rollout: cannot begin without edge-2, which cannot be reached and would",
        ),
        (
            wish(),
            fleet(4, limit=["h001", "h002", "edge-1"]),
            None,
            "needs every gateway, and this run's limit leaves out edge-2; add :tfserving_gateways to --limit",
        ),
        (
            wish(),
            fleet(4, limit=["h001", "h002", *EDGES]),
            None,
            "has a step of 100 %, which takes 4 hosts, and this run's limit holds 2; run without --limit",
        ),
        (
            wish(canary=["h004"]),
            fleet(4, limit=["h001", "h002", *EDGES]),
            None,
            "tfserving_models[0].rollout.canary[0]: is h004, which is outside the limit of this run; widen",
        ),
        (
            wish(canary=["h009"]),
            fleet(4),
            None,
            "tfserving_models[0].rollout.canary[0]: is h009, which does not serve the model",
        ),
        (
            wish(),
            fleet(4, 8),
            None,
            "tfserving_models[0].version: has nothing to roll out: every host serves 8; name another version; to move"
            " labels, run site.yml with",
        ),
        (
            wish(),
            fleet(4, in_force={}),
            None,
            "tfserving_models[0].version: no host serves ranker yet; deploy its first version with site.yml",
        ),
        (
            wish(9),
            fleet(4),
            at("share"),
            "tfserving_models[0].version: names 9, and the roll-out 7 -> 8 is not over (stage share); set it to 8 until"
            " that is over, or run rollback.yml first",
        ),
        (
            wish(),
            fleet(4),
            at("reverted", reverted={"8": {"reason": "p99 rose", "at": 1.0}}),
            "tfserving_models[0].version: version 8 of ranker was reverted: p99 rose; name another version, or set"
            " rollout.retry to true",
        ),
        (
            wish(),
            fleet(2, down=["h001", "h002"]),
            None,
            "tfserving_models[0].rollout: has no host to begin with: all that serve the model are down",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_before_anything_is_changed(wished, hosts, last, sentence):
    told = refused(wished, hosts, last)
    assert sentence in told
    assert "\n" not in told


@pytest.mark.parametrize("last", [None, at("share", step=2, ready=2), at("rest")])
def test_a_host_that_has_never_served_the_model_does_not_join_in_a_roll_out(last):
    hosts = fleet(4)
    served = {host: versions for host, versions in hosts.in_force.items() if host != "h001"}
    assert refused(wish(), replace(hosts, in_force=served), last) == (
        "tfserving_models[0].rollout: cannot go on with h001, where nothing serves ranker yet; run site.yml first,"
        " which has them serve what the others do"
    )
    # It keeps no other one from the way back, and one that is down from nothing.
    assert course.opened(wish(), replace(hosts, in_force=served), at("reverting"), NOW).stage == "reverting"
    course.opened(wish(), replace(hosts, in_force=served, down=["h001"]), last, NOW)


def test_a_reverted_version_may_be_tried_again():
    last = at("reverted", reverted={"8": {"reason": "p99 rose", "at": 1.0}})
    assert course.opened(wish(retry=True), fleet(4), last, NOW).reverted == {}


def test_versions_come_one_after_another():
    several = replace(wish(), serve={"versions": [7, 8, 9]}, versions=[7, 8, 9])
    assert "names 2 versions that are not in force (8, 9); take them through rollout.yml one" in refused(
        several, fleet(4), None
    )


@pytest.mark.parametrize(
    ("name", "by_host", "sentence"),
    [
        ("", {"h1": wishes()}, "model: is missing; add -e model=NAME; the models are ranker"),
        ("rankr", {"h1": wishes()}, "model: is 'rankr', which tfserving_models does not have; did you mean 'ranker'?"),
        ("vision", {"h1": wishes()}, "model: is 'vision', which tfserving_models does not have; name one of ranker"),
        (
            "vision",
            {"h1": {}},
            "model: is 'vision', which tfserving_models does not have; write it into tfserving_models",
        ),
        (
            "ranker",
            {"h1": wishes(), "h2": wishes(9)},
            "tfserving_models[0]: differs between hosts: h1 is to serve 8, h2 9; give every host the same version",
        ),
        (
            "ranker",
            {"h1": {"ranker": replace(wish(), rollout=None)}},
            "tfserving_models[0].rollout: is missing, so site.yml moves this model; run that, or add a rollout",
        ),
    ],
)
def test_a_model_that_cannot_be_rolled_out_is_refused(name, by_host, sentence):
    with pytest.raises(WishError, match=re.escape(sentence)):
        course.wish_of(name, by_host)


def test_a_model_is_found_among_those_of_all_hosts():
    assert course.wish_of("ranker", {"h1": {}, "h2": wishes(), "h3": wishes()}).serve["versions"] == [8]


def test_the_newest_state_counts_and_one_that_is_taken_back_wins_a_tie():
    older, newer = at("share", step=1).to_json(), at("share", step=2, ready=2).to_json()
    back = {**at("reverting").to_json(), "revision": 1}
    assert course.newest("ranker", {"h1": older, "h2": {**newer, "revision": 10}}).step == 2
    assert course.newest("ranker", {"h1": newer, "h2": back}).stage == "reverting"
    assert course.newest("ranker", {}) is None


def test_a_damaged_state_names_its_host():
    broken = {**at("share").to_json(), "steps": []}
    with pytest.raises(
        WishError, match=r"rollout/ranker.json: is damaged on h1 \(the state .* no usable stage or steps\)"
    ):
        course.newest("ranker", {"h1": broken})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": [0, 5, 100]}, "the state of a roll-out has no usable stage or steps"),
        ({"steps": [True, 100]}, "the state of a roll-out has no usable stage or steps"),
        ({"steps": [5, 500]}, "the state of a roll-out has no usable stage or steps"),
        ({"history": [{}]}, "the state of a roll-out has no usable history"),
        ({"model": "vision"}, "it is about vision"),
    ],
)
def test_a_state_that_no_run_has_written_is_refused_before_it_moves_anything(change, words):
    with pytest.raises(WishError, match=rf"rollout/ranker.json: is damaged on h1 \({words}\); move it away and run"):
        course.newest("ranker", {"h1": {**at("share").to_json(), **change}})


def test_a_run_that_was_overtaken_stops():
    mine = at("share")
    course.checked(mine, {"h1": mine.to_json(), "h2": {**mine.to_json(), "revision": 1}})
    theirs = states.rollback(mine, "ranker", "by hand", NOW).to_json()
    with pytest.raises(WishError, match=r"another run has taken over \(h2 is at stage reverting, generation 4\)"):
        course.checked(mine, {"h1": mine.to_json(), "h2": theirs})


def test_a_share_is_given_only_to_hosts_that_are_ready():
    arms = {"canary": ("h001",), "control": ("h002", "gone")}
    hosts = {"ranker": ["h001", "h002"]}

    def share(state: State) -> dict[str, Any]:
        return course.gateway_rollouts({"ranker": state.to_json()}, hosts)

    split = {"canary": ["h001"], "control": ["h002"]}
    assert share(at("canary", arms=arms)) == {"ranker": {**split, "permille": 0}}
    assert share(at("share", step=1, ready=2, arms=arms)) == {"ranker": {**split, "permille": 50}}
    assert share(at("share", step=3, ready=2, arms=arms)) == {"ranker": {**split, "permille": 250}}
    assert share(at("share", step=1, ready=2, arms=arms, is_share_zero=True))["ranker"]["permille"] == 0
    assert share(at("reverting", arms=arms, ready=2))["ranker"]["permille"] == 0
    for over in (at("done", arms=arms), at("reverted", arms=arms), at("share"), at("share", arms={"canary": ("x",)})):
        assert share(over) == {}


def test_events_lead_from_one_stage_to_the_next():
    state = course.after("advance", begun(), "", NOW)
    assert state.stage == "canary"
    state = course.ready(states.with_arms(state, ["h001"], ["h004"]), 2, NOW)
    assert (state.stage, state.step, state.ready) == ("share", 0, 2)
    assert course.ready(replace(state, step=3), 3, NOW).step == 3
    rest = course.after("advance", replace(state, step=4), "", NOW)
    done = course.after("finish", rest, "", NOW)
    assert (done.stage, done.arms, done.ready) == ("done", {}, -1)
    with pytest.raises(WishError, match=r"^the roll-out of ranker: the stage done of ranker is not the last one"):
        course.after("finish", done, "", NOW)


def test_only_the_first_hosts_blame_the_version():
    assert course.failure(at("canary"), True, True) == "blamed"
    assert course.failure(at("canary"), False, True) == "failed"
    assert course.failure(at("canary"), True, False) == "failed"
    assert course.failure(at("share"), True, True) == "failed"
    held = course.after("failed", at("share"), "h002: no space", NOW)
    assert (held.stage, held.held) == ("share", "h002: no space")
    back = course.after("blamed", at("canary"), "h001: wrong answer", NOW)
    assert (back.stage, back.reverted["8"]["reason"], back.percent) == ("reverting", "h001: wrong answer", 0)


def test_a_rollback_wins_and_twice_in_a_row_is_fine():
    back = course.taken_back("ranker", at("done"), "wrong scores", NOW)
    assert (back.stage, back.generation, back.serving) == ("reverting", 4, 7)
    again = course.taken_back("ranker", course.after("finish", back, "", NOW), "again", NOW)
    assert (again.stage, again.generation) == ("reverted", 5)
    with pytest.raises(
        WishError, match=r"^model: ranker has no roll-out to take back, so no version before it is known;"
    ):
        course.taken_back("ranker", None, "", NOW)


def test_where_it_stands_is_one_line():
    arms = {"canary": tuple(f"h{n:03}" for n in range(1, 8)), "control": ()}
    state = at("share", step=1, arms=arms, held="no\ntraffic")
    assert course.line(state) == (
        "ranker 7 -> 8: shared, 5 % of the traffic, step 2 of 5, canary h[001:005] and 2 more; held: no\\ntraffic"
    )
    back = course.after("blamed", at("canary"), "h001: wrong answer", NOW)
    assert course.summary([state, at("done"), back]).splitlines()[-1] == (
        "ranker 7 -> 8: being taken back: h001: wrong answer"
    )


def test_a_run_that_ends_held_or_reverted_says_what_to_do():
    def told(state: State) -> str:
        return course.problem(state, lambda name: f"{name}.yml")

    assert told(at("done")) == ""
    assert told(at("share", held="no traffic")).endswith(
        "; held: no traffic; run rollout.yml again to go on (with -e promote=true the step counts as passed), or"
        " rollback.yml to take it back"
    )
    back = course.after("finish", course.after("blamed", at("canary"), "it crashed", NOW), "", NOW)
    assert told(back) == ("ranker 7 -> 8: taken back: it crashed; name another version, or set rollout.retry to true")
    unblamed = replace(back, reverted={})
    assert told(unblamed).endswith("nothing is held against version 8, so rollout.yml may begin again")
