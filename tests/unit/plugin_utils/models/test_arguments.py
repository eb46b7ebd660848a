# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What of a plan the module is called with."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import arguments


def test_the_action_passes_on_what_the_module_has_options_for():
    assert set(arguments.MODEL_KEYS) == set(options.ARGUMENTS["models"]["options"])
    assert set(arguments.INSTANCE_KEYS) == set(options.ARGUMENTS["instances"]["options"])


def test_the_action_leaves_out_what_the_plan_says_for_itself():
    plan = [
        {"name": "a", "source": {"uri": "u", "uri_digest": "hmac:0"}, "memory_mb": 1},
        {"name": "b", "source": {"uri": "v"}},
    ]
    assert arguments.module_arguments({"models": plan, "sources": "{}"}) == {
        "models": [{"name": "a", "source": {"uri": "u"}}, {"name": "b", "source": {"uri": "v"}}],
        "sources": "{}",
    }


def test_credentials_that_the_controller_keeps_are_sent_to_no_host():
    source = {"type": "s3", "uri": "s3://models/x/", "credentials": {"access_key": "hush"}}
    beside = {"a": {"uri": "s3://models/x/", "credentials": {"access_key": "hush"}}}
    sent = arguments.module_arguments({"models": [{"name": "a", "source": source}], "sources": json.dumps(beside)})
    assert sent == {
        "models": [{"name": "a", "source": {"type": "s3", "uri": "s3://models/x/"}}],
        "sources": json.dumps({"a": {"uri": "s3://models/x/"}}),
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_the_module_itself_refuses_what_travels_beside_in_another_shape(text):
    assert arguments.module_arguments({"models": [], "sources": text})["sources"] == text
    assert arguments.beside(text) is None


@pytest.mark.parametrize("models", [None, 5, "ranker", ["ranker"], [{"source": "/srv"}]])
def test_the_module_itself_says_what_is_wrong_with_a_shape(models):
    assert arguments.module_arguments({"models": models}) == {"models": models}


def test_a_task_that_sets_what_the_action_sets_is_refused():
    with pytest.raises(WishError) as refusal:
        arguments.module_arguments({"models": [], "staged": {}})
    assert str(refusal.value) == "staged: is set by this action itself; remove it from the task"
