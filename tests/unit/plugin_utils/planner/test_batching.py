# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether batches form, how large they are and how many wait."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.batching import longest_batch_ms
from hypothesis import given
from hypothesis import strategies as st
from planner_cases import CPU_HOST, IMAGE, ONE_CPU, box, instance, model, only, plan, refusal


def test_the_latency_profile_answers_request_by_request_and_says_why():
    found = only({"profile": "latency", "slo_p99_ms": 20})
    assert found["batching"] is None
    assert "answers each request at once" in found["reasons"]["batching"]
    assert "enable_batching" not in found["flags"]


def test_a_field_of_batching_turns_it_on():
    found = only({"profile": "latency", "batching": {"max_batch_size": 6}})
    assert found["batching"]["max_batch_size"] == 6
    assert found["overrides"] == ["batching", "batching.max_batch_size"]
    assert found["flags"]["enable_batching"] is True
    assert found["flags"]["batching_parameters_file"] == "/etc/tfserving/ranker/batching.config"


def test_batching_can_be_turned_off_for_an_instance_and_by_the_policy():
    assert only({"batching": {"enabled": False}})["overrides"] == ["batching"]
    assert only({"batching": {"enabled": False}})["batching"] is None
    assert only(batching="off")["batching"] is None
    assert only({"batching": {"enabled": True}}, batching="off")["batching"] is not None


def test_on_cpus_batches_form_only_under_load():
    batching = only()["batching"]
    assert batching == {
        "max_batch_size": 32,
        "batch_timeout_micros": 0,
        "num_batch_threads": 12,
        # 33 batches of 3 ms fit into 100 ms: one runs on each thread, 32 wait behind it.
        "max_enqueued_batches": 32 * 12,
    }


@pytest.mark.parametrize(
    ("wish", "waiting"),
    [
        # What the lab measured: 3 ms a batch, an objective of 100 ms, one CPU.
        ({}, 32),
        ({"batching": {"expected_batch_ms": 3}}, 32),
        ({"batching": {"expected_batch_ms": 20}}, 4),
        ({"batching": {"expected_batch_ms": 20, "batch_timeout_micros": 10_000}}, 3),
        ({"batching": {"expected_batch_ms": 50}}, 1),
        # Half a batch cannot wait, and the server lets one wait at the least.
        ({"batching": {"expected_batch_ms": 60}}, 1),
        ({"batching": {"expected_batch_ms": 0.001}}, 999),
        ({"batching": {"expected_batch_ms": 3, "max_enqueued_batches": 7}}, 7),
    ],
)
def test_as_many_batches_wait_as_the_objective_has_time_for(wish, waiting):
    found = only({"slo_p99_ms": 100, **wish}, machine=ONE_CPU)
    assert found["batching"]["max_enqueued_batches"] == waiting
    assert "expected_batch_ms" not in found["batching"]


def test_a_gpu_takes_the_batches_of_its_threads_one_after_another():
    wish = {"gpus": 1, "slo_p99_ms": 100, "batching": {"expected_batch_ms": 9.5}}
    batching = only(wish, machine=box(), **IMAGE)["batching"]
    # 95 ms are left for ten batches: four in flight, six that wait.
    assert (batching["batch_timeout_micros"], batching["num_batch_threads"]) == (5000, 4)
    assert batching["max_enqueued_batches"] == 6


def test_the_reason_for_the_queue_says_whose_batch_time_it_is():
    assert only(machine=ONE_CPU)["reasons"]["batching.max_enqueued_batches"] == (
        "with 3 ms for a batch (assumed: 0.03 of the objective; measure it and set batching.expected_batch_ms), 100 ms"
        " have time for 32 to wait beside those in 1 batch thread; behind a full queue of 32 a request keeps 100 ms"
        " while a batch runs for at most 3.03 ms"
    )
    found = only({"models": ["a", "b"], "batching": {"expected_batch_ms": 10}}, [model("a"), model("b")], ONE_CPU)
    assert found["reasons"]["batching.max_enqueued_batches"] == (
        "with 10 ms for a batch (expected_batch_ms), 100 ms have time for 9 to wait beside those in 1 batch thread;"
        " behind 2 full queues of 9 a request keeps 100 ms while a batch runs for at most 5.26 ms"
    )


def test_the_policy_may_assume_another_share_of_the_objective():
    profiles = {"balanced": {"batch_share": 0.2}}
    assert only(machine=ONE_CPU, profiles=profiles)["batching"]["max_enqueued_batches"] == 4
    with pytest.raises(
        WishError, match=r"^host_plan_policy.profiles.balanced.batch_share: is the number 0; give a share"
    ):
        only(profiles={"balanced": {"batch_share": 0}})


def test_a_batch_that_leaves_no_time_to_wait_is_a_warning():
    wish = instance(slo_p99_ms=100, batching={"expected_batch_ms": 60})
    assert plan(CPU_HOST, [wish])["warnings"] == [
        "tfserving_instances[0].batching.expected_batch_ms: is 60, so within 100 ms no batch can wait for another, and"
        " the server lets one wait at the least: a request in it is late; lower max_batch_size and measure again, or"
        " raise slo_p99_ms"
    ]


def test_on_gpus_sizes_are_few_and_end_in_the_largest():
    found = only({"gpus": 1, "batching": {"max_batch_size": 48}}, machine=box(), **IMAGE)
    assert found["batching"]["allowed_batch_sizes"] == [1, 2, 4, 8, 16, 32, 48]
    assert found["batching"]["num_batch_threads"] == 4


@pytest.mark.parametrize(
    ("slo", "size", "timeout"), [(None, 64, 5000), (100, 64, 5000), (30, 16, 1500), (1, 4, 50), (10_000, 256, 10_000)]
)
def test_batch_and_timeout_follow_the_objective(slo, size, timeout):
    batching = only({"gpus": 1, "slo_p99_ms": slo}, machine=box(), **IMAGE)["batching"]
    assert (batching["max_batch_size"], batching["batch_timeout_micros"]) == (size, timeout)


def test_the_largest_batch_is_the_last_of_the_sizes_allowed():
    batching = only({"batching": {"allowed_batch_sizes": [8, 24]}})["batching"]
    assert (batching["max_batch_size"], batching["allowed_batch_sizes"]) == (24, [8, 24])


@pytest.mark.parametrize(
    ("arguments", "longest"),
    [
        # CPUs: four batches run side by side, then the four that waited: two rounds in 100 ms.
        ((100, 0, 4, 4, 0), 50),
        ((100, 10_000, 4, 4, 0), 45),
        # One GPU runs all eight one after another.
        ((100, 0, 4, 4, 1), 12.5),
        ((100, 0, 4, 8, 2), 100 / 6),
        ((1, 5_000, 4, 4, 0), 0),
    ],
)
def test_the_reason_for_the_queue_tells_how_long_a_batch_may_run(arguments, longest):
    assert longest_batch_ms(*arguments) == pytest.approx(longest)


def test_other_fields_of_batching_are_passed_on():
    found = only({"batching": {"pad_variable_length_inputs": True}})
    assert found["batching"]["pad_variable_length_inputs"] is True
    assert found["overrides"] == ["batching.pad_variable_length_inputs"]


@pytest.mark.parametrize(
    ("batching", "message"),
    [
        (
            {"batch_timeout_micros": 60_000},
            "batching.batch_timeout_micros: lets a request wait 60 ms for others, the objective is 50 ms in all",
        ),
        (
            {"expected_batch_ms": 50},
            "tfserving_instances[0].batching.expected_batch_ms: is 50, and the objective is 50 ms in all; lower"
            " max_batch_size and measure again, or raise slo_p99_ms",
        ),
        ({"num_batch_threads": 13}, "batching.num_batch_threads: is 13, and the instance is pinned to 12 CPUs; use at"),
        ({"allowed_batch_sizes": [8, 4]}, "tfserving_instances[0].batching.allowed_batch_sizes: [8, 4] does not rise"),
        ({"max_batch_size": 16, "allowed_batch_sizes": [8]}, "batching.allowed_batch_sizes: ends in 8 and not in"),
        ({"max_execution_batch_size": 8}, "batching.max_execution_batch_size: is read only when"),
    ],
)
def test_batching_that_cannot_work_is_refused(batching, message):
    assert message in refusal({"slo_p99_ms": 50, "batching": batching})


SPLITTING = {"enable_large_batch_splitting": True}


@pytest.mark.parametrize(
    ("wish", "request_rows", "batch_rows"),
    [
        # As far as 1000 rows, which are 32 batches of 32: all that may wait for one CPU.
        ({}, 1000, 32),
        ({"max_enqueued_batches": 20}, 640, 32),
        ({"max_execution_batch_size": 8}, 256, 8),
        ({"max_batch_size": 700}, 700, 32),
        ({"max_batch_size": 700, "max_execution_batch_size": 175}, 700, 175),
        ({"max_batch_size": 20}, 20, 20),
        ({"max_execution_batch_size": 2000}, 2000, 2000),
        ({"allowed_batch_sizes": [8, 16, 700], "max_enqueued_batches": 44}, 700, 16),
        ({"allowed_batch_sizes": [50, 700]}, 700, 50),
    ],
)
def test_where_large_requests_are_cut_a_batch_is_as_large_as_otherwise(wish, request_rows, batch_rows):
    batching = only({"slo_p99_ms": 100, "batching": {**SPLITTING, **wish}}, machine=ONE_CPU)["batching"]
    assert (batching["max_batch_size"], batching["max_execution_batch_size"]) == (request_rows, batch_rows)


def test_a_request_that_is_cut_is_explained():
    found = only({"slo_p99_ms": 100, "batching": SPLITTING}, machine=ONE_CPU)
    assert found["overrides"] == ["batching.enable_large_batch_splitting"]
    assert found["reasons"]["batching.max_execution_batch_size"] == (
        "32 for 100 ms on a CPU, in proportion to 100 ms, as a power of two"
    )
    assert found["reasons"]["batching.max_batch_size"] == (
        "requests of more rows than a batch are cut: up to 1000 rows, the server's own limit, and no more than 32"
        " batches of 32, which may wait"
    )
    assert found["reasons"]["batching.enable_large_batch_splitting"] == (
        "(override) the plan would leave it unset: a request of more rows than a batch is refused, since one that is"
        " cut holds several batch threads and places in the queue"
    )


def test_on_gpus_the_sizes_are_those_of_batches_and_the_last_that_of_a_request():
    found = only({"gpus": 1, "batching": {**SPLITTING, "max_execution_batch_size": 48}}, machine=box(), **IMAGE)
    assert found["batching"]["allowed_batch_sizes"] == [1, 2, 4, 8, 16, 32, 48, 1000]
    assert found["reasons"]["batching.allowed_batch_sizes"] == (
        "powers of two up to max_execution_batch_size: kernels are chosen and compiled once for each size, and padding"
        " at most doubles a batch; the last is max_batch_size, as the server demands"
    )


def test_request_threads_are_for_the_places_in_batches_not_for_the_rows_of_a_large_request():
    whole, cut = (only({"batching": wish}) for wish in ({"max_batch_size": 32}, {**SPLITTING, "max_batch_size": 1000}))
    assert whole["threads"] == cut["threads"]


def test_too_few_request_threads_are_told_by_the_field_of_the_batch():
    wish = instance(batching=SPLITTING, flags={"grpc_max_threads": 9})
    assert "never fill a batch of 32; use at least 33, or lower batching.max_execution_batch_size to 8" in (
        " ".join(plan(CPU_HOST, [wish])["warnings"])
    )


@pytest.mark.parametrize(
    ("batching", "sentence"),
    [
        (
            {"max_batch_size": 5000},
            "max_batch_size: 5000 rows are 157 batches of 32, and max_enqueued_batches lets 32 wait; write at most"
            " 1024, or raise max_enqueued_batches",
        ),
        (
            {"max_batch_size": 8, "max_execution_batch_size": 9},
            "max_execution_batch_size: 9 exceeds max_batch_size (8); write at most max_batch_size",
        ),
        (
            {"max_execution_batch_size": 24, "allowed_batch_sizes": [16, 32]},
            "allowed_batch_sizes: has no 24, so each full batch (max_execution_batch_size) is padded to 32 rows; add 24"
            " to the list",
        ),
        (
            {"max_batch_size": 64, "max_execution_batch_size": 32, "allowed_batch_sizes": [16, 32]},
            "allowed_batch_sizes: ends in 32 and not in max_batch_size 64, so no model would load; end the list in 64"
            " or set max_batch_size to 32",
        ),
    ],
)
def test_sizes_that_do_not_fit_a_cut_are_refused(batching, sentence):
    wish = {"slo_p99_ms": 100, "batching": {**SPLITTING, **batching}}
    assert refusal(wish, machine=ONE_CPU) == f"tfserving_instances[0].batching.{sentence}"


@given(
    st.fixed_dictionaries(
        {"slo_p99_ms": st.sampled_from([1, 30, 100, 10_000]), "profile": st.sampled_from(["balanced", "throughput"])}
    ),
    st.sampled_from([{}, {"max_execution_batch_size": 7}, {"max_enqueued_batches": 3}, {"expected_batch_ms": 0.5}]),
    st.sampled_from([(ONE_CPU, 0), (CPU_HOST, 0), (box(), 1), (box(), 4)]),
)
def test_whatever_is_cut_fits_the_queue_and_the_sizes(wish, more, place):
    machine, gpus = place
    batching = only({**wish, "gpus": gpus, "batching": {**SPLITTING, **more}}, machine=machine, **IMAGE)["batching"]
    batch, request = batching["max_execution_batch_size"], batching["max_batch_size"]
    assert batch <= request <= batch * batching["max_enqueued_batches"]
    allowed = batching.get("allowed_batch_sizes", [batch, request])
    assert (batch in allowed, allowed[-1]) == (True, request)
