# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is in force is read from records, those of the host first, and never guessed where they cannot say."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.in_force import of_fleet, of_host, of_plan
from planner_cases import CPU_HOST, instance, model, plan


def recorded(version=7, name="ranker", **keys):
    """Return the record of a host that serves one version of a model."""
    return {"plan": plan(CPU_HOST, None, [model(name, version=version, **keys)]), "rollouts": {}}


NONE = {"plan": {}, "rollouts": {}}


@pytest.mark.parametrize(
    ("keys", "served"),
    [
        ({}, {"versions": [7], "labels": {}}),
        ({"serve": {"versions": [6, 7], "labels": {"a": 6}}}, {"versions": [6, 7], "labels": {"a": 6}}),
        ({"version": None, "versions": [6, 7], "serve": {"latest": 1}}, {"versions": [7], "labels": {}}),
        ({"version": None, "versions": [6, 7], "serve": {"latest": 5}, "keep": 5}, {"versions": [6, 7], "labels": {}}),
        ({"version": None, "versions": [6, 7], "serve": {"all": True}}, {"versions": [6, 7], "labels": {}}),
    ],
)
def test_the_versions_in_force_are_those_that_the_record_serves(keys, served):
    assert without_proofs(of_plan(recorded(**keys)["plan"])) == {"ranker": served}


def without_proofs(found):
    """Return what is in force but for what proves it."""
    return {name: {key: value for key, value in each.items() if key != "proofs"} for name, each in found.items()}


def test_what_proves_the_served_versions_is_read_with_them():
    made = recorded(probe={"instances": [1]}, memory_mb=900, golden="golden/ranker.jsonl")["plan"]
    proof = {"probe": {"instances": [1]}, "golden": {"file": "golden/ranker.jsonl"}, "warmup": "auto"}
    assert of_plan(made)["ranker"] == {"versions": [7], "labels": {}, "proofs": {"7": proof}, "memory_mb": 900}
    assert of_plan(recorded(probe=False)["plan"])["ranker"]["proofs"]["7"]["probe"] is False


def test_what_proves_other_versions_is_read_by_version():
    made = recorded(probe={"instances": [8]}, serve={"versions": [6, 7]})["plan"]
    made["models"][0] |= {"protected": [4, 5], "proofs": {"5": {"probe": None, "warmup": False}, "6": {"probe": False}}}
    assert {version: proof.get("probe") for version, proof in of_plan(made)["ranker"]["proofs"].items()} == {
        "4": {"instances": [8]},
        "5": None,
        "6": False,
        "7": {"instances": [8]},
    }


def test_the_record_of_an_older_release_says_what_proves_its_versions():
    made = copy.deepcopy(recorded(probe={"instances": [1]})["plan"])
    del made["models"][0]["golden"], made["models"][0]["warmup"]
    assert of_plan(made)["ranker"]["proofs"] == {"7": {"probe": {"instances": [1]}}}


def test_what_no_instance_serves_is_not_in_force():
    made = plan(CPU_HOST, [instance()], [model(), model("idle")])
    assert set(of_plan(made)) == {"ranker"}
    assert of_plan({}) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"versions": []},
        {"versions": ["7"]},
        {"versions": [True]},
        {"serve": "all"},
        {"serve": {"versions": "7"}},
        {"serve": {"latest": "1"}},
        {"serve": {"labels": {"a": None}}},
        {"protected": 7},
        {"proofs": {"7": "none"}},
    ],
)
def test_a_record_that_does_not_say_what_is_in_force_is_refused(change):
    record = copy.deepcopy(recorded())
    record["plan"]["models"][0].update(change)
    with pytest.raises(WishError) as caught:
        of_fleet([record])
    assert str(caught.value) == (
        "/etc/tfserving/plan.json: does not say which versions of a model are in force; move it away and run again"
    )


def test_a_record_of_an_older_release_without_the_policy_serves_its_newest_version():
    record = copy.deepcopy(recorded(version=None, versions=[6, 7]))
    del record["plan"]["models"][0]["serve"]
    assert of_plan(record["plan"])["ranker"]["versions"] == [7]


def test_a_host_that_joins_serves_what_most_hosts_serve():
    fleet = of_fleet([recorded(7), recorded(8), recorded(7), NONE])
    joined = of_host(NONE, fleet)
    assert joined["in_force"] == of_host(recorded(7), fleet)["in_force"]
    assert without_proofs(joined["in_force"]) == {"ranker": {"versions": [7], "labels": {}}}


def test_among_equals_the_older_versions_win_in_whatever_order_hosts_stand():
    records = [recorded(8), recorded(7)]
    assert of_fleet(records) == of_fleet(records[::-1])
    assert of_fleet(records)["in_force"]["ranker"]["versions"] == [7]


def test_a_hosts_own_record_comes_first():
    fleet = of_fleet([recorded(7), recorded(7), recorded(8)])
    assert without_proofs(of_host(recorded(8), fleet)["in_force"]) == {"ranker": {"versions": [8], "labels": {}}}


def test_hosts_of_other_models_have_no_say():
    fleet = of_fleet([recorded(1, "digits"), recorded(1, "digits"), recorded(7)])
    assert of_host(recorded(1, "digits"), fleet)["in_force"]["ranker"]["versions"] == [7]


def rolled(age, old, **reverted):
    """Return the record of a host that remembers a roll-out; ``reverted`` are reasons by v8, v9."""
    known = {version.removeprefix("v"): reason for version, reason in reverted.items()}
    return {**recorded(8), "rollouts": {"ranker": {"age": age, "old": old, "reverted": known}}}


def test_what_one_host_has_reverted_is_reverted_for_all():
    fleet = of_fleet([recorded(), rolled([1, 2], 7, v8="slow")])
    assert of_host(recorded(), fleet)["reverted"] == of_host(NONE, fleet)["reverted"] == {"ranker": {"8": "slow"}}


def test_the_newest_record_of_a_rollout_counts_wherever_it_is():
    left_behind, reached = rolled([1, 9], 6, v7="slow"), rolled([2, 1], 7)
    for records in ([left_behind, reached], [reached, left_behind]):
        known = of_host(left_behind, of_fleet(records))
        assert known["reverted"] == {"ranker": {}}
        assert known["in_force"]["ranker"]["previous"] == {"versions": [7]}


def test_the_way_back_is_known_to_a_host_that_has_joined():
    fleet = of_fleet([rolled([1, 2], 7), recorded(8)])
    joined = {"versions": [8], "labels": {}, "previous": {"versions": [7]}}
    assert without_proofs(of_host(NONE, fleet)["in_force"]) == {"ranker": joined}
    assert without_proofs(of_host(recorded(9), fleet)["in_force"])["ranker"] == {
        "versions": [9],
        "labels": {},
        "previous": {"versions": [7]},
    }


def test_a_rollout_of_what_nobody_serves_any_more_is_no_version_in_force():
    assert of_host(NONE, of_fleet([{**NONE, "rollouts": rolled([1, 1], 7)["rollouts"]}]))["in_force"] == {}


@pytest.mark.parametrize(
    ("records", "absent", "unseen"),
    [
        ([NONE], ["h1", "h2"], ["h1", "h2"]),
        ([NONE], ["h2"], ["h2"]),
        ([NONE, NONE], ["h3"], []),
        ([NONE, recorded(1, "digits")], ["h3", "h4"], []),
        ([NONE], [], []),
    ],
    ids=["limited", "half", "one-down", "some-record", "first"],
)
def test_hosts_that_take_no_part_count_where_no_record_says_what_is_served(records, absent, unseen):
    fleet = of_fleet(records, absent)
    assert fleet["unseen"] == of_host(NONE, fleet)["unseen"] == unseen


@pytest.mark.parametrize(
    ("served", "old", "new", "before"),
    [
        ([8], 7, 8, [7]),
        ([7, 8], 7, 8, [7]),
        ([7], 7, 8, [7]),
        ([6, 8], 7, 8, [6, 7]),
        ([6, 7, 8], 7, 8, [6, 7]),
        ([7], 8, 7, [8]),
        ([9], 7, 8, [7]),
        ([8], 7, None, [7]),
        ([7, 8], 7, None, [7]),
    ],
)
def test_a_rollback_leaves_what_is_served_beside_the_version_that_moved(served, old, new, before):
    record = recorded(version=None, versions=served, serve={"versions": served})
    record["rollouts"] = {"ranker": {"age": [1, 1], "old": old, "new": new, "reverted": {}}}
    found = of_host(record, of_fleet([record]))
    assert found["in_force"]["ranker"]["previous"] == {"versions": before}
