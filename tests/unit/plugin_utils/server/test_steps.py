# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version comes before the label that moves onto it."""

from __future__ import annotations

import copy

from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.steps import config_steps


def instance(versions: list[int], labels: dict[str, int], digest: str = "same") -> dict:
    config = {
        "name": "ranker",
        "model_version_policy": {"specific": {"versions": versions}},
        "version_labels": labels,
    }
    return {"name": "main", "digest": digest, "model_config": {"model_config_list": {"config": [config]}}}


def wanted(instances: list[dict]) -> tuple[list[int], dict[str, int]]:
    config = instances[0]["model_config"]["model_config_list"]["config"][0]
    return config["model_version_policy"]["specific"]["versions"], config["version_labels"]


def test_a_label_that_moves_onto_a_new_version_waits_for_it():
    steps = config_steps([instance([1], {"stable": 1})], [instance([1, 2], {"stable": 2})])
    assert [wanted(step) for step in steps] == [([1, 2], {"stable": 1}), ([1, 2], {"stable": 2})]


def test_the_version_that_a_label_leaves_stays_until_it_has_left():
    steps = config_steps([instance([1], {"stable": 1})], [instance([2], {"stable": 2})])
    assert [wanted(step) for step in steps] == [([1, 2], {"stable": 1}), ([2], {"stable": 2})]


def test_a_new_label_comes_with_its_version_at_once():
    after = [instance([1, 2], {"stable": 1, "canary": 2})]
    assert config_steps([instance([1], {"stable": 1})], after) == [after]


def test_an_instance_that_restarts_needs_no_bridge():
    after = [instance([2], {"stable": 2}, digest="other")]
    assert config_steps([instance([1], {"stable": 1})], after) == [after]


def test_a_new_instance_needs_no_bridge():
    after = [instance([2], {"stable": 2})]
    assert config_steps([], after) == [after]


def test_a_record_that_knows_less_is_nothing_to_build_on():
    after = [instance([2], {"stable": 2})]
    assert config_steps([{"name": "main"}], after) == [after]
    assert config_steps([{"name": "main", "digest": "same"}], after) == [after]
    assert config_steps([{"name": "gone", "digest": "same"}], after) == [after]


def test_neither_plan_is_changed():
    before, after = [instance([1], {"stable": 1})], [instance([2], {"stable": 2})]
    kept = copy.deepcopy((before, after))
    config_steps(before, after)
    assert (before, after) == kept


def test_an_instance_whose_labels_stay_is_the_same_object_and_no_copy():
    """A copy of what Ansible hands over took half of a run's time on the controller."""
    after = [instance([1, 2], {"stable": 1}), {**instance([3], {}), "name": "other"}]
    (step,) = config_steps([instance([1], {"stable": 1})], after)
    assert [id(each) for each in step] == [id(each) for each in after]
