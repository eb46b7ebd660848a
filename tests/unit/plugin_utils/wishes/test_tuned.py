# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tuned settings stand in for what an inventory leaves open, and say so in the plan."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import derived, read
from planner_cases import CPU_HOST, instance, model, only, plan, refusal

NOTE = "2026-11-26: 812/s against 640/s"
TUNED = {
    "batching": {
        "max_batch_size": 128,
        "batch_timeout_micros": 0,
        "num_batch_threads": 3,
        "max_enqueued_batches": 8,
    },
    "flags": {
        "tensorflow_intra_op_parallelism": 8,
        "tensorflow_inter_op_parallelism": 4,
        "grpc_max_threads": 700,
        "rest_api_num_threads": 600,
    },
    "measured": NOTE,
}


def tuned(wish=None, **changes):
    return only(wish, tuned={"ranker": {**TUNED, **changes}})


def test_what_was_found_is_planned_with_its_reason():
    found = tuned()
    assert found["batching"] == TUNED["batching"]
    assert found["threads"]["intra_op"] == found["flags"]["tensorflow_intra_op_parallelism"] == 8
    assert (found["threads"]["grpc"], found["threads"]["rest"]) == (700, 600)
    assert found["overrides"] == []
    assert found["reasons"]["batching.max_batch_size"] == (
        f"(tuned) {NOTE}; the plan would have 32: 32 for 100 ms on a CPU, in proportion to 100 ms, as a power of two"
    )
    assert found["reasons"]["threads.grpc"].startswith(f"(tuned) {NOTE}; the plan would have ")


def test_what_the_instance_sets_comes_first():
    found = tuned({"batching": {"max_batch_size": 16}, "flags": {"grpc_max_threads": 800}})
    assert found["batching"]["max_batch_size"] == 16
    assert found["batching"]["num_batch_threads"] == 3
    assert (found["threads"]["grpc"], found["threads"]["rest"]) == (800, 600)
    assert found["overrides"] == ["batching.max_batch_size", "threads.grpc"]
    assert found["reasons"]["batching.max_batch_size"].startswith("(override) the plan would have 32")


def test_sizes_and_computing_threads_are_taken_together_or_not_at_all():
    found = tuned({"batching": {"allowed_batch_sizes": [4, 8]}, "flags": {"tensorflow_intra_op_parallelism": 11}})
    assert found["batching"]["max_batch_size"] == 8
    assert (found["threads"]["intra_op"], found["threads"]["inter_op"]) == (11, 1)


def test_the_size_measured_is_that_of_a_batch_where_larger_requests_are_cut():
    found = tuned({"batching": {"enable_large_batch_splitting": True}})["batching"]
    assert (found["max_batch_size"], found["max_execution_batch_size"]) == (1000, 128)
    found = tuned({"batching": {"enable_large_batch_splitting": True, "max_batch_size": 700}})["batching"]
    assert (found["max_batch_size"], found["max_execution_batch_size"]) == (700, 128)


def test_batches_that_the_instance_turns_off_stay_off():
    assert tuned({"batching": {"enabled": False}})["batching"] is None


def test_no_batching_is_a_setting_too():
    found = tuned(batching={"enabled": False})
    assert found["batching"] is None
    assert found["reasons"]["batching"].startswith(f"(tuned) {NOTE}; the plan would have True")


def test_batches_that_the_instance_asks_for_stay_on():
    found = tuned({"batching": {"max_batch_size": 8}}, batching={"enabled": False})
    assert found["batching"]["max_batch_size"] == 8


def test_the_instance_that_stands_for_all_models_can_be_tuned():
    (found,) = plan(CPU_HOST, None, tuned={"main": TUNED})["instances"]
    assert found["batching"]["max_batch_size"] == 128


def test_an_instance_that_is_not_there_is_warned_of():
    warnings = plan(CPU_HOST, [instance()], tuned={"other": TUNED})["warnings"]
    assert (
        "tfserving_tuned.other: this host has no instance of this name, so it has no effect; remove it if no host has"
        " one" in warnings
    )


def test_what_this_host_cannot_grant_is_refused_at_its_own_place():
    batching = {**TUNED["batching"], "num_batch_threads": 13}
    assert refusal(tuned={"ranker": {**TUNED, "batching": batching}}) == (
        "tfserving_tuned.ranker.batching.num_batch_threads: is 13, and the instance is pinned to 12 CPUs; use at most"
        " 12, or give the instance more cores"
    )
    flags = {**TUNED["flags"], "tensorflow_intra_op_parallelism": 10}
    assert refusal(tuned={"ranker": {**TUNED, "flags": flags}}).startswith(
        "tfserving_tuned.ranker.flags.tensorflow_intra_op_parallelism: brings the computing threads to 10 intra-op"
    )
    sizes = {**TUNED["batching"], "allowed_batch_sizes": [8, 64]}
    assert refusal(tuned={"ranker": {**TUNED, "batching": sizes}}).startswith("tfserving_tuned.ranker.batching")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "tfserving_tuned: is a list; give a mapping of names to values"),
        ({"ranker": []}, "tfserving_tuned.ranker: is a list; give tuned settings as a mapping with the keys batching,"),
        ({"ranker": {"bathing": {}}}, "tfserving_tuned.ranker.bathing: is not a key of tuned settings; did you mean"),
        (
            {"ranker": {"batching": {"max_batch_size": 0}}},
            "tfserving_tuned.ranker.batching.max_batch_size: is the number 0; give a whole number from 1 to 1000000",
        ),
        (
            {"ranker": {"batching": {"enabled": False, "max_batch_size": 4}}},
            "tfserving_tuned.ranker.batching.max_batch_size: is set while enabled is false; remove",
        ),
        (
            {"ranker": {"flags": {"enable_profiler": True}}},
            "tfserving_tuned.ranker.flags.enable_profiler: is not a key of the flags that are tuned; the keys of",
        ),
        (
            {"ranker": {"flags": {"grpc_max_threads": "x"}}},
            "tfserving_tuned.ranker.flags.grpc_max_threads: is the string",
        ),
        ({"ranker": {"measured": "a\nb"}}, "tfserving_tuned.ranker.measured: "),
        ({"a b": {}}, "tfserving_tuned: is a string, which cannot be a name; use letters, digits, '-' and '_'"),
    ],
)
def test_what_cannot_be_is_refused(value, sentence):
    with pytest.raises(WishError) as caught:
        plan(CPU_HOST, [instance()], tuned=value)
    assert str(caught.value).startswith(sentence)


def test_it_has_a_variable_of_its_own():
    assert derived.policy({"tfserving_tuned": {"ranker": TUNED}})["tuned"] == {"ranker": TUNED}
    found = read.problems([instance()], [model()], {"overrides": {"tuned": {"ranker": TUNED}}})
    assert found == ["host_plan_policy.tuned: has a variable of its own; set tfserving_tuned instead"]
