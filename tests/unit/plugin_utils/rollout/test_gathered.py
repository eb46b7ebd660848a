# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run knows of a roll-out is read from variables and answers as something that may be wrong."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import gathered
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.state import begin
from planner_cases import instance, model

STATE = begin(None, "ranker", 7, 8, [5, 100], 1.0, False).to_json()


def variables(*models, instances=None):
    return {"tfserving_models": list(models), "tfserving_instances": instances or [instance()]}


def plan(*versions):
    served = {"name": "ranker", "versions": list(versions), "serve": {"versions": list(versions)}}
    return {"instances": [{"name": "ranker", "models": ["ranker"]}], "models": [served]}


def test_states_are_those_of_hosts_that_have_one():
    answers = {"h1": {"states": {"ranker": STATE}}, "h2": {"states": {}}, "h3": {"failed": True}}
    assert gathered.states("ranker", answers) == {"h1": STATE}
    assert gathered.models(answers) == ["ranker"]


@pytest.mark.parametrize("damaged", [[], "text", {}, {**STATE, "generation": "1"}, {**STATE, "reverted": {"x": {}}}])
def test_what_the_module_cannot_have_returned_is_refused(damaged):
    with pytest.raises(WishError, match=r"rollout/ranker.json: is damaged on h1; move it away and run again"):
        gathered.states("ranker", {"h1": {"states": {"ranker": damaged}}})


def test_a_fleet_is_what_hosts_are_to_serve_and_what_they_serve():
    two = [instance("a", ["ranker"]), instance("b", ["ranker"], ports={"grpc": 8510, "rest": 8511})]
    hosts = {"h1": variables(model()), "h2": variables(model(), instances=two), "h3": {}}
    wished = gathered.wishes(hosts, hosts)
    plans = {"h1": plan(7), "h2": {}, "h3": plan(6)}
    found = gathered.fleet("ranker", wished, plans, ["edge"], ["h3"], None, 2)
    assert found.serving == {"h1": ["ranker"], "h2": ["a", "b"], "h3": []}
    assert found.in_force == {"h1": [7], "h3": [6]}
    assert found.up == ["h1", "h2"]
    assert found.serial == [2]
    assert gathered.serving("ranker", plans) == {"h1": [7], "h3": [6]}
