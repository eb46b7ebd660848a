# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts of a benchmark come from the inventory, and a wrong name is refused before any of them is contacted."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import wishes

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


def test_the_load_comes_from_its_group_or_else_from_the_controller():
    assert wishes.load_hosts({"tfserving_load": ["load-1", "load-2"]}, "gpu-b") == ["load-1", "load-2"]
    assert wishes.load_hosts({"tfserving_load": []}, "gpu-b") == ["this-controller"]
    assert wishes.load_hosts({}, "gpu-b") == ["this-controller"]


def test_the_measured_host_sends_no_load():
    with pytest.raises(WishError) as refused:
        wishes.load_hosts({"tfserving_load": ["load-1", "gpu-b"]}, "gpu-b")
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
