# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts of a benchmark come from the inventory, and a wrong name is refused before any of them is contacted."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options, wishes

FLEET = {"gpu-a": ["digits"], "gpu-b": ["ranker", "digits"], "gpu-c": ["ranker"]}


@pytest.mark.parametrize(
    ("instance", "wanted", "host"),
    [("ranker", None, "gpu-b"), ("ranker", "gpu-c", "gpu-c"), ("digits", None, "gpu-a")],
)
def test_the_first_host_with_the_instance_is_measured_unless_another_is_named(instance, wanted, host):
    assert wishes.target_host(instance, wanted, FLEET) == host


@pytest.mark.parametrize(
    ("instance", "wanted", "sentence"),
    [
        ("rankr", None, "instance: rankr is no instance of the fleet; did you mean 'ranker'?"),
        ("zzz", None, "instance: zzz is no instance of the fleet; use one of: digits, ranker"),
        ("ranker", "gpu-a", "instance: ranker is no instance of host gpu-a; use one of: digits"),
        ("ranker", "gpu-d", "host: gpu-d is no host of the fleet; did you mean 'gpu-c'?"),
    ],
)
def test_an_unknown_instance_or_host_is_refused(instance, wanted, sentence):
    with pytest.raises(WishError) as refused:
        wishes.target_host(instance, wanted, FLEET)
    assert str(refused.value) == sentence


def test_an_empty_fleet_has_no_instance():
    with pytest.raises(WishError) as refused:
        wishes.target_host("ranker", None, {"gpu-a": []})
    assert str(refused.value) == "instance: ranker is no instance of the fleet; add it to tfserving_instances"


@pytest.mark.parametrize(
    ("instance", "host", "other", "wanted", "found"),
    [
        ("ranker", None, "digits", None, "gpu-b"),  # the measured host has it as well
        ("ranker", "gpu-c", "digits", None, "gpu-a"),  # it has not
        ("ranker", None, "digits", "gpu-a", "gpu-a"),
        ("ranker", None, "ranker", None, "gpu-c"),  # the same instance is on another host
        ("ranker", "gpu-c", "ranker", None, "gpu-b"),
    ],
)
def test_the_other_instance_is_on_the_measured_host_or_the_first_other(instance, host, other, wanted, found):
    given = {"instance": instance, "host": host, "against": other, "against_host": wanted, "rate": 5}
    a, b = wishes.sides(options.read(given), FLEET)
    assert a == {"side": "A", "instance": instance, "host": host or "gpu-b"}
    assert b == {"side": "B", "instance": other, "host": found}


def test_a_benchmark_of_one_instance_has_one_side():
    found = wishes.sides(options.read({"instance": "digits", "against": "before.json"}), FLEET)
    assert found == [{"side": "A", "instance": "digits", "host": "gpu-a"}]


@pytest.mark.parametrize(
    ("other", "wanted", "sentence"),
    [
        (
            "rankers",
            None,
            "against: rankers is neither an instance of the fleet nor the JSON file of a run; did you mean 'ranker'?",
        ),
        (
            "zzz",
            None,
            "against: zzz is neither an instance of the fleet nor the JSON file of a run; use one of: digits, only,"
            " ranker; or a path that ends in .json",
        ),
        ("ranker", "gpu-d", "against_host: gpu-d is no host of the fleet; did you mean 'gpu-c'?"),
        ("ranker", "gpu-a", "against: ranker is no instance of host gpu-a; name another one, or no against_host"),
        (
            "only",
            None,
            "against: only on gpu-c is what is measured; name another instance, or another host that has it with"
            " against_host",
        ),
        (
            "only",
            "gpu-c",
            "against: only on gpu-c is what is measured; name another instance, or another host that has it with"
            " against_host",
        ),
    ],
)
def test_what_cannot_be_measured_in_turns_is_refused(other, wanted, sentence):
    fleet = {**FLEET, "gpu-c": ["ranker", "only"]}
    with pytest.raises(WishError) as refused:
        wishes.other_host(other, wanted, ("gpu-c", "only"), fleet)
    assert str(refused.value) == sentence


def test_the_load_comes_from_its_group_or_else_from_the_controller():
    assert wishes.load_hosts({"tfserving_load": ["load-1", "load-2"]}, ["gpu-b"]) == ["load-1", "load-2"]
    assert wishes.load_hosts({"tfserving_load": []}, ["gpu-b"]) == ["this-controller"]
    assert wishes.load_hosts({}, ["gpu-b"]) == ["this-controller"]


@pytest.mark.parametrize("measured", [["gpu-b"], ["gpu-a", "gpu-b"]])
def test_a_measured_host_sends_no_load(measured):
    with pytest.raises(WishError) as refused:
        wishes.load_hosts({"tfserving_load": ["load-1", "gpu-b"]}, measured)
    assert str(refused.value) == (
        "tfserving_load: gpu-b is the host to be measured, and load made on it would take the CPU from the server;"
        " remove it from the group, or measure another host with -e host=..."
    )


def test_a_limit_must_not_leave_out_a_host_that_takes_part():
    wishes.require_within_limit(["gpu-b", "localhost"], ["gpu-b", "localhost"], "gpu-b,localhost")
    with pytest.raises(WishError) as refused:
        wishes.require_within_limit(["gpu-b", "localhost"], ["gpu-b"], "gpu-b")
    assert str(refused.value) == (
        "--limit: gpu-b leaves out localhost, which takes part in the benchmark; remove it, and name the host to"
        " measure with -e host=..."
    )


def test_a_misspelt_variable_is_refused_and_others_belong_to_the_user():
    given = ["durration", "fleet_serial", "my_note", "rate", "mine", "state"]
    found = wishes.misspelt(given, ["duration", "rate", "engine", "stage"], ["fleet_serial"])
    assert [str(each) for each in found] == ["durration: is no variable of a benchmark; did you mean 'duration'?"]
