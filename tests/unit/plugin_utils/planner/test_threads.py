# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sizes of the server's thread pools."""

from __future__ import annotations

import re

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import threads as pools
from planner_cases import CPU_HOST, ONE_CPU, box, instance, only, plan, refusal
from repository import REPOSITORY


@pytest.mark.parametrize(("profile", "intra", "inter"), [("latency", 9, 3), ("balanced", 6, 6), ("throughput", 3, 9)])
def test_the_profile_splits_the_cpus_between_the_computing_pools(profile, intra, inter):
    threads = only({"profile": profile})["threads"]
    assert (threads["intra_op"], threads["inter_op"]) == (intra, inter)


def test_a_wish_for_one_pool_leaves_the_rest_to_the_other():
    found = only({"flags": {"tensorflow_inter_op_parallelism": 2}})
    assert (found["threads"]["intra_op"], found["threads"]["inter_op"]) == (10, 2)
    assert found["flags"]["tensorflow_intra_op_parallelism"] == 10
    assert found["overrides"] == ["threads.inter_op"]
    assert found["reasons"]["threads.inter_op"].startswith("(override) the plan would have 6: ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"tensorflow_intra_op_parallelism": 13},
            "tfserving_instances[0].flags.tensorflow_intra_op_parallelism: brings the computing threads to"
            " 13 intra-op + 1 inter-op, and the instance is pinned to 12 CPUs; keep the sum within 12, or give the"
            " instance more cores",
        ),
        ({"tensorflow_intra_op_parallelism": 7, "tensorflow_inter_op_parallelism": 6}, "to 7 intra-op + 6 inter-op"),
        ({"num_load_threads": 0}, "flags.num_load_threads: is the number 0; give a count of threads from 1"),
        ({"grpc_max_threads": "08"}, "flags.grpc_max_threads: is the string '08'; give a count of threads"),
        ({"rest_api_num_threads": 1}, "tfserving_instances[0].flags.rest_api_num_threads: 1 is below 2"),
        (
            {"grpc_max_threads": 1},
            "tfserving_instances[0].flags.grpc_max_threads: 1 is below 2, and gRPC keeps one of these threads polling,"
            " so with a single one every call is refused (RESOURCE_EXHAUSTED); write 2 or more",
        ),
        (
            {"tensorflow_session_parallelism": 4},
            "set tensorflow_intra_op_parallelism and tensorflow_inter_op_parallelism",
        ),
    ],
)
def test_threads_that_cannot_work_are_refused(flags, message):
    assert message in refusal({"flags": flags})


@pytest.mark.parametrize(("machine", "callers"), [(ONE_CPU, 33), (CPU_HOST, 33), (box(0), 120)])
def test_one_thread_of_each_pool_comes_on_top_of_those_that_hold_requests(machine, callers):
    found = only({"profile": "latency"}, machine=machine)
    assert (found["threads"]["rest"], found["threads"]["grpc"]) == (callers + 1, callers + 1)
    assert found["flags"]["grpc_max_threads"] == callers + 1
    assert found["reasons"]["threads.grpc"].endswith("; one more that polls for calls")
    assert found["reasons"]["threads.rest"].endswith("; one more for the event loop")


@pytest.mark.parametrize(
    ("batching", "callers"),
    [
        # A request for each place: 1 batch that runs and 32 that wait, of 4 each.
        ({"max_batch_size": 4}, 132),
        ({"max_batch_size": 4, "max_enqueued_batches": 9}, 40),
        # More than 512 bring nothing ...
        ({}, 512),
        # ... unless the batch that runs and the one that forms hold more.
        ({"max_batch_size": 400}, 800),
        ({"max_batch_size": 4000}, 2048),
    ],
)
def test_request_threads_follow_the_batches_that_they_fill(batching, callers):
    found = only({"batching": batching}, machine=ONE_CPU)
    assert (found["threads"]["rest"], found["threads"]["grpc"]) == (callers + 1, callers + 1)


def test_threads_that_cannot_fill_the_largest_batch_say_how_much_of_it_they_fill():
    reason = only({"batching": {"max_batch_size": 4000}}, machine=ONE_CPU)["reasons"]["threads.grpc"]
    assert (
        "cut to 2048 because more waiting threads bring no benefit; requests for one item each fill 1024 places"
        in reason
    )


@pytest.mark.parametrize(
    ("flag", "threads", "holds"),
    [("grpc_max_threads", 9, 8), ("rest_api_num_threads", 32, 31), ("grpc_max_threads", 2, 1)],
)
def test_wished_threads_too_few_for_a_batch_are_a_warning_with_both_ways_out(flag, threads, holds):
    requests = "1 request" if holds == 1 else f"{holds} requests"
    assert plan(CPU_HOST, [instance(flags={flag: threads})])["warnings"] == [
        f"tfserving_instances[0].flags.{flag}: is {threads}, which holds {requests} at a time, and those for one"
        f" item each never fill a batch of 32; use at least 33, or lower batching.max_batch_size to {holds}"
    ]


def test_nobody_is_told_to_use_more_threads_than_the_unit_has_room_for():
    warnings = plan(CPU_HOST, [instance(batching={"max_batch_size": 100_000})])["warnings"]
    assert len(warnings) == 2
    assert all(" of 100000; lower batching.max_batch_size to 2048" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"rest_api_num_threads": 9000, "grpc_max_threads": 20},
            "rest_api_num_threads: is 9000, which brings the server to 9029 threads, and its unit has room for 7680;"
            " use at most 7651",
        ),
        (
            {"rest_api_num_threads": 8000, "grpc_max_threads": 8001},
            "grpc_max_threads: is 8001, which brings the server to 16010 threads, and its unit has room for 7680;"
            " lower it, and the other flags of threads",
        ),
        (
            {"num_load_threads": 2**40},
            "num_load_threads: is 1099511627776, which brings the server to 1099511627851 threads, and its unit has"
            " room for 7680; use at most 7605",
        ),
    ],
)
def test_threads_that_the_unit_could_not_start_are_refused(flags, sentence):
    with pytest.raises(WishError) as refused:
        plan(machines.topology(sockets=1, cores=8, smt=1), [instance(profile="latency", cpus=6, flags=flags)])
    assert str(refused.value) == f"tfserving_instances[0].flags.{sentence}"


def test_instances_that_count_cores_are_told_how_to_share_them():
    tiny = machines.topology(sockets=1, cores=1, smt=2, memory_mb=8192)
    with pytest.raises(WishError) as refused:
        plan(tiny, [instance("a", cpus=1), instance("b")])
    assert str(refused.value) == (
        "tfserving_instances: are 2 on a host with 1 core for serving, and cpus counts cores; leave cpus out of all,"
        " and they share cores by their threads"
    )
    assert len(plan(tiny, [instance("a"), instance("b")])["instances"]) == 2


def test_the_bound_of_threads_is_the_units():
    unit = "roles/tfserving/templates/host/etc/systemd/system/tfserving@.service.j2"
    text = (REPOSITORY / unit).read_text()
    assert int(re.search(r"^TasksMax=([0-9]+)$", text, re.M)[1]) == pools.MOST_THREADS + 512


def test_wished_threads_that_fill_a_batch_are_no_warning():
    flags = {"grpc_max_threads": 33, "rest_api_num_threads": 33}
    assert plan(CPU_HOST, [instance(flags=flags)])["warnings"] == []
    assert plan(CPU_HOST, [instance(profile="latency", flags={"grpc_max_threads": 2})])["warnings"] == []
