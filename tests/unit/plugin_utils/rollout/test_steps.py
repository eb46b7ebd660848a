# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who serves what, for fleets of one host, two, three and 200; and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.steps import Shares, assign, shares
from hypothesis import given
from hypothesis import strategies as st
from refusing import refusal

STEPS = [1, 5, 25, 50, 100]


def fleet(hosts, instances=("ranker",)):
    return {f"gpu-{number:03}": list(instances) for number in range(1, hosts + 1)}


def hosts(units):
    return sorted({host for host, _ in units})


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(1, (10, 10, 980)), (25, (250, 250, 500)), (50, (500, 500, 0)), (75, (750, 250, 0)), (100, (1000, 0, 0))],
)
def test_the_control_gets_as_much_as_the_canary_while_there_is_as_much_left(percent, expected):
    assert shares(percent) == Shares(*expected)


@pytest.mark.parametrize(
    ("percent", "canary", "control", "stable"),
    [(1, 2, 2, 196), (5, 10, 10, 180), (25, 50, 50, 100), (50, 100, 100, 0), (75, 150, 50, 0), (100, 200, 0, 0)],
)
def test_200_hosts_carry_in_each_step_what_they_carry_anyway(percent, canary, control, stable):
    found = assign("rollout", fleet(200), percent)
    assert [len(units) for units in (found.canary, found.control, found.stable)] == [canary, control, stable]
    assert found.stretch == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("percent", STEPS[:-1])
def test_of_two_hosts_one_is_the_canary_and_the_other_everything_else(percent):
    found = assign("rollout", fleet(2), percent)
    assert hosts(found.canary) == ["gpu-001"]
    assert hosts(found.control) == ["gpu-002"]
    assert hosts(found.stable) == (["gpu-002"] if percent < 50 else [])
    assert found.stretch == pytest.approx(max(percent, 100 - percent) / 50)


def test_of_three_hosts_the_control_helps_out_while_the_rest_would_be_stretched():
    found = assign("rollout", fleet(3), 1)
    assert hosts(found.canary) == ["gpu-001"]
    assert hosts(found.control) == ["gpu-003"]
    assert hosts(found.stable) == ["gpu-002", "gpu-003"]
    half = assign("rollout", fleet(3), 50)
    assert (hosts(half.canary), hosts(half.control)) == (["gpu-001", "gpu-002"], ["gpu-003"])


def test_one_host_splits_by_instance():
    found = assign("rollout", fleet(1, ["a", "b", "c"]), 25)
    assert found.canary == (("gpu-001", "a"),)
    assert found.control == (("gpu-001", "c"),)
    assert found.stable == (("gpu-001", "b"), ("gpu-001", "c"))


def test_one_host_with_one_instance_takes_a_single_step():
    assert assign("rollout", fleet(1), 100).canary == (("gpu-001", "ranker"),)
    assert refusal(assign, "rollout", fleet(1), 25) == (
        "rollout.steps: has a step of 25 %, and only gpu-001 serves the model, with one instance; add a host or a"
        " second instance, or set it to [100]"
    )


def test_one_host_of_two_that_is_left_cannot_split():
    assert refusal(assign, "rollout", fleet(2), 25, 1, ["gpu-001"]) == (
        "rollout.steps: has a step of 25 %, and only gpu-002, of those up, serves the model, with one instance; add a"
        " host or a second instance, or set it to [100]"
    )


def test_all_instances_of_a_canary_host_serve_the_new_version():
    found = assign("rollout", {"big": ["a", "b", "c"], "small-1": ["a"], "small-2": ["a"]}, 50)
    assert found.canary == (("big", "a"), ("big", "b"), ("big", "c"))
    assert hosts(found.control) == ["small-1", "small-2"]


def test_named_hosts_are_the_canary_first():
    found = assign("rollout", fleet(200), 5, ["gpu-200", "gpu-007"])
    assert {"gpu-200", "gpu-007"} <= set(hosts(found.canary))
    assert len(found.canary) == 10


def test_more_canary_hosts_than_the_share_takes():
    assert len(assign("rollout", fleet(10), 1, 3).canary) == 3


def test_hosts_that_are_down_are_left_out_and_named():
    found = assign("rollout", fleet(4), 25, 1, ["gpu-001", "gpu-003"])
    assert found.left_out == ("gpu-001", "gpu-003")
    assert (hosts(found.canary), hosts(found.control)) == (["gpu-002"], ["gpu-004"])


def test_a_limited_run_takes_its_canary_within_the_limit_and_its_control_anywhere():
    found = assign("rollout", fleet(10), 10, 1, (), ["gpu-009"])
    assert hosts(found.canary) == ["gpu-009"]
    assert hosts(found.control) == ["gpu-010"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"canary": ["gpu-9"]},
            "rollout.canary[0]: is gpu-9, which does not serve the model; name one of gpu-001, gpu-002, gpu-003",
        ),
        (
            {"canary": ["gpu-001", "gpu-002"], "limit": ["gpu-001"]},
            "rollout.canary[1]: is gpu-002, which is outside the limit of this run; widen --limit to it",
        ),
        (
            {"canary": ["gpu-001"], "down": ["gpu-001"]},
            "rollout.canary[0]: is gpu-001, which cannot be reached; bring it up, or name another one",
        ),
        (
            {"limit": ["other"]},
            "rollout: has none of its hosts within the limit of this run; add one of gpu-001, gpu-002, gpu-003",
        ),
        (
            {"percent": 50, "limit": ["gpu-001"]},
            "rollout.steps: has a step of 50 %, which takes 2 hosts, and this run's limit holds 1; run without --limit",
        ),
        (
            {"percent": 100, "limit": ["gpu-001"]},
            "rollout.steps: has a step of 100 %, which takes 3 hosts, and this run's limit holds 1; run without"
            " --limit",
        ),
        (
            {"down": ["gpu-001", "gpu-002", "gpu-003"]},
            "rollout: has no host to begin with: all that serve the model are down; bring one up, or name the model in"
            " an instance",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes, sentence):
    given = {"path": "rollout", "fleet": fleet(3), "percent": 1, **changes}
    assert refusal(lambda: assign(**given)) == sentence


def test_a_model_that_nobody_serves_is_refused():
    assert refusal(assign, "rollout", {}, 1) == (
        "rollout: has no host to begin with: none serves it; bring one up, or name the model in an instance"
    )


def test_200_names_do_not_fill_the_screen():
    assert refusal(assign, "rollout", fleet(200), 1, ["x"]).endswith("gpu-005 and 195 more")


@given(
    st.dictionaries(st.integers(0, 60).map("h{}".format), st.integers(1, 3), min_size=2, max_size=40),
    st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(1, 4),
    st.data(),
)
def test_each_step_keeps_the_canaries_of_the_last_and_never_has_a_host_in_both_arms(sizes, steps, least, data):
    given_fleet = {host: [f"i{number}" for number in range(count)] for host, count in sizes.items()}
    down = data.draw(st.lists(st.sampled_from(sorted(given_fleet)), max_size=len(given_fleet) - 2, unique=True))
    earlier: set = set()
    for percent in steps:
        found = assign("rollout", given_fleet, percent, least, down)
        canary, control, stable = set(found.canary), set(found.control), set(found.stable)
        assert earlier <= canary
        assert canary
        assert control
        assert not set(hosts(canary)) & set(hosts(control | stable))
        assert canary | control | stable == {
            (host, each) for host, names in given_fleet.items() if host not in down for each in names
        }
        assert bool(stable) == bool(found.shares.stable)
        assert found.shares.canary + found.shares.control + found.shares.stable == 1000
        earlier = canary
