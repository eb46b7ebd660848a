# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Threads, batching, memory, flags and environment: what the rules give, and what users may change of it."""

from __future__ import annotations

import re

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import threads as pools
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.batching import longest_batch_ms
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from planner_cases import ARCHIVE, IMAGE, box, gpus, instance, model, plan
from repository import REPOSITORY

# 13 cores: one for the system, twelve for the only instance.
CPU_HOST = machines.topology(sockets=1, cores=13, smt=1, memory_mb=65536)


def only(wish=None, models=None, machine=CPU_HOST, **policy):
    """Return the only instance of a plan."""
    (found,) = plan(machine, [instance(**(wish or {}))], models, **policy)["instances"]
    return found


def refusal(wish=None, models=None, machine=CPU_HOST, **policy):
    """Return the sentence that refuses a plan."""
    with pytest.raises(WishError) as caught:
        only(wish, models, machine, **policy)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- unsurveyed releases

NEWER = {
    "version": "2.99.0",
    "install_method": "image",
    "releases": {"images": {"2.99.0": f"registry.example/tensorflow/serving@sha256:{'a1' * 32}"}},
}
PERMITTED = {**NEWER, "allow_unsurveyed_release": True}


def test_a_release_that_nobody_surveyed_is_planned_for_as_the_newest_one_with_a_warning():
    warnings = plan(CPU_HOST, [instance()], **NEWER)["warnings"]
    assert warnings == [
        f"tfserving_version: 2.99.0 was not surveyed, so it is planned for as {surveyed.newest()}, the newest release"
        " that was; its flags, the fields of its files and its needs of a host may differ"
    ]
    assert plan(CPU_HOST, [instance()])["warnings"] == []


def test_flags_and_fields_that_nobody_surveyed_need_a_permission():
    known = f"2.99.0 was not surveyed, and {surveyed.newest()}, the newest release that was, has no such"
    permit = "set host_plan_policy.allow_unsurveyed_release to true if 2.99.0 has it"
    assert refusal({"flags": {"frobnicate": 1}}, **NEWER) == (
        f"tfserving_instances[0].flags.frobnicate: {known} flag; leave it out, or {permit}"
    )
    assert refusal({"batching": {"frobnicate": 1}}, **NEWER) == (
        f"tfserving_instances[0].batching.frobnicate: {known} field in BatchingParameters; leave it out, or {permit}"
    )
    assert refusal({"batching": {"max_batchsize": 1}}, **NEWER) == (
        f"tfserving_instances[0].batching.max_batchsize: {known} field in BatchingParameters; did you mean"
        f" 'max_batch_size'? Otherwise, {permit}"
    )


def test_permitted_flags_and_fields_are_in_the_plan():
    wish = {"flags": {"frobnicate": 1}, "batching": {"max_batch_size": 8, "frobnicate": {"value": 2}}}
    found = only(wish, **PERMITTED)
    assert found["flags"]["frobnicate"] == 1
    assert found["batching"]["max_batch_size"] == 8
    assert found["batching"]["frobnicate"] == {"value": 2}
    assert {"flags.frobnicate", "batching.frobnicate"} <= set(found["overrides"])


def test_the_permission_means_nothing_to_a_surveyed_release():
    assert "the server has no such flag" in refusal({"flags": {"frobnicate": 1}}, allow_unsurveyed_release=True)
    assert "is not a key of batching" in refusal({"batching": {"frobnicate": 1}}, allow_unsurveyed_release=True)


# ------------------------------------------------------------------------------------------------------------ threads


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


ONE_CPU = machines.topology(sockets=1, cores=1, smt=1)


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


# ----------------------------------------------------------------------------------------------------------- batching


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


# ------------------------------------------------------------------------------------------------------------- memory


def shared(first=None, second=None, **policy):
    wishes = [instance("a", gpus=[0], **(first or {})), instance("b", gpus=[0], **(second or {}))]
    return plan(box(), wishes, **{**IMAGE, **policy})["instances"]


def test_shared_gpus_are_divided_by_weight_less_a_context_for_each():
    assert [each["gpu_memory_fraction"] for each in shared({"weight": 3})] == [0.74, 0.246]
    assert shared()[0]["flags"]["per_process_gpu_memory_fraction"] == 0.493
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in shared()[0]["environment"]


def test_a_lone_instance_may_grow_on_its_gpus():
    found = only({"gpus": 1}, machine=box(), **IMAGE)
    assert found["gpu_memory_fraction"] is None
    assert found["environment"]["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert found["environment"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert found["environment"]["CUDA_VISIBLE_DEVICES"] == "GPU-0000"


def test_an_instance_without_gpus_keeps_away_from_those_of_the_host():
    assert only(machine=box(), **IMAGE)["environment"]["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in only()["environment"]


def test_a_gpu_of_unknown_memory_is_divided_with_a_margin():
    wishes = [instance("a", gpus=[0]), instance("b", gpus=[0])]
    found = plan(box(gpus=gpus(1, memory_mb=None)), wishes, **IMAGE)
    assert [each["gpu_memory_fraction"] for each in found["instances"]] == [0.45, 0.45]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            0.7,
            0.4,
            "[0].flags.per_process_gpu_memory_fraction: brings GPU 0 to 110% of its memory, and other instances",
        ),
        (0.6, None, "[0].flags.per_process_gpu_memory_fraction: brings GPU 0 to 109% of its memory"),
        (0, None, "[0].flags.per_process_gpu_memory_fraction: is 0, which means all, and other instances share it"),
        ("half", None, "[0].flags.per_process_gpu_memory_fraction: is the string 'half'; give a share from 0 to 1"),
    ],
)
def test_wished_shares_that_cannot_be_are_refused(first, second, message):
    wished = [
        {} if share is None else {"flags": {"per_process_gpu_memory_fraction": share}} for share in (first, second)
    ]
    with pytest.raises(WishError) as caught:
        shared(*wished)
    assert message in str(caught.value)


def test_a_gpu_too_small_for_its_tenants_is_refused():
    wishes = [instance("a", gpus=[0]), instance("b", gpus=[0])]
    with pytest.raises(WishError, match=r"shares GPU 0 with 1 other instance, and nothing of its 1000 MB is left"):
        plan(box(gpus=gpus(1, memory_mb=1000)), wishes, **IMAGE)


def test_two_versions_that_do_not_fit_on_the_gpu_are_refused():
    message = refusal({"gpus": 1}, [model(memory_mb=50_000)], box(), **IMAGE)
    assert message == (
        "tfserving_instances[0].models: hold 'ranker', and its next version (50000 MB) does not fit beside the one in"
        " service: the server loads the new one before it unloads the old one, which takes 100000 MB of GPU memory, and"
        " there are 81408 MB; give it more memory, or set drain_then_swap in host_plan_policy, which takes this host"
        " out of rotation for about 500 s at each new version"
    )


def test_with_leave_they_are_drained_and_the_plan_says_what_it_costs():
    found = plan(box(), [instance(gpus=1)], [model(memory_mb=50_000)], drain_then_swap=True, **IMAGE)
    assert found["instances"][0]["swap"] == {"ranker": "drain"}
    assert found["warnings"][0] == (
        "tfserving_instances[0]: two versions of 'ranker' do not fit into GPU memory (81408 MB), so each new version"
        " drains this host first: about 500 s without its capacity"
    )


def test_a_model_that_fits_nowhere_is_refused_even_with_leave():
    message = refusal({"gpus": 1}, [model(memory_mb=90_000)], box(), drain_then_swap=True, **IMAGE)
    assert "need 90000 MB of GPU memory even while nothing is swapped, and there are 81408 MB" in message


def test_only_the_models_that_have_to_are_drained():
    models = [model("big", memory_mb=30_000), model("small", memory_mb=1_000)]
    wish = {"models": ["big", "small"], "gpus": 1}
    assert only(wish, models, box(), drain_then_swap=True, **IMAGE)["swap"] == {"big": "hot", "small": "hot"}
    models[0]["memory_mb"] = 45_000
    assert only(wish, models, box(), drain_then_swap=True, **IMAGE)["swap"] == {"big": "drain", "small": "hot"}


def test_the_memory_of_the_host_must_hold_a_swap_as_well():
    message = refusal(models=[model(memory_mb=30_000)])
    assert "takes 72512 MB of the host's memory, and there are 58982 MB" in message
    assert only(models=[model(memory_mb=30_000)], drain_then_swap=True)["swap"] == {"ranker": "drain"}


def test_instances_that_fit_one_by_one_and_not_together_are_refused():
    models = [model("a", memory_mb=15_000), model("b", memory_mb=15_000)]
    wishes = [instance("a", ["a"]), instance("b", ["b"])]
    with pytest.raises(WishError, match=r"takes 73024 MB of the host's memory, and there are 58982 MB"):
        plan(CPU_HOST, wishes, models)


def test_limits_leave_room_above_the_expected_peak():
    memory = only(models=[model(memory_mb=1000)])["memory"]
    assert (memory["expected_mb"], memory["high_mb"], memory["max_mb"]) == (2912, 4368, 5824)
    assert only()["memory"]["max_mb"] == 58982
    assert only()["memory"]["high_mb"] is None
    assert only()["reasons"]["memory.max_mb"] == (
        "all that the system leaves, so that a leak ends this server and not the host; a guess, since the size of its"
        " models is not known: memory_mb makes it a figure"
    )


def memory_of(sizes, weights=(1, 1, 1, 1), machine=CPU_HOST):
    """Return the memory of instances with a model each, of the sizes given, None for an unknown one."""
    models = [model(f"m{number}", memory_mb=size) for number, size in enumerate(sizes)]
    wishes = [instance(f"i{n}", [f"m{n}"], weight=weight, cpus=1) for n, weight in zip(range(len(sizes)), weights)]
    return plan(machine, wishes, models)["instances"]


def test_instances_of_unknown_size_share_the_memory_by_weight():
    found = memory_of([None, None, None], [2, 1, 1])
    assert [each["memory"]["max_mb"] for each in found] == [29491, 14745, 14745]
    assert found[0]["reasons"]["memory.max_mb"] == (
        "its share by weight 2 of what is there for instances of unknown size, so that all limits together are within"
        " the serving memory; a guess, since the size of its models is not known: memory_mb makes it a figure"
    )


def test_instances_of_unknown_size_get_what_the_limits_of_the_others_leave():
    found = memory_of([1000, None, None])
    assert [each["memory"]["max_mb"] for each in found] == [5824, 26579, 26579]


def test_limits_move_closer_to_the_peak_where_memory_is_short():
    # 2 x 19712 MB are expected and 58982 MB there: both get 1.496 times their peak.
    found = memory_of([8000, 8000])
    assert [each["memory"]["max_mb"] for each in found] == [29491, 29491]
    assert [each["memory"]["high_mb"] for each in found] == [24601, 24601]
    assert (
        "1.5 times the expected peak of 19712 MB, both versions of a swap included, all that the limits"
        in (found[0]["reasons"]["memory.max_mb"])
    )


def test_an_instance_of_unknown_size_gets_no_more_than_its_weight_where_memory_is_short():
    found = memory_of([12_000, None])
    # The first is expected to take 29312 MB, and half of 58982 is the second one's by weight.
    assert [each["memory"]["max_mb"] for each in found] == [29491, 29491]


def test_a_host_with_less_memory_than_a_server_takes_is_a_warning():
    small = machines.topology(sockets=1, cores=4, smt=1, memory_mb=512)
    assert plan(small)["warnings"] == [
        "tfserving_instances[0].models: have no memory_mb, and of the host's memory 384 MB are left for 1 instance of"
        " unknown size; a server without a model takes 512 MB; move instances to another host, or give every model its"
        " memory_mb"
    ]


def test_an_instance_of_unknown_size_that_has_no_room_is_refused():
    with pytest.raises(WishError) as caught:
        memory_of([24_200, None])
    assert str(caught.value) == (
        "tfserving_instances[1].models: have no memory_mb, and of the host's memory 390 MB are left for 1 instance of"
        " unknown size beside the 58592 MB that the other instances are expected to take; a server without a model"
        " takes 512 MB; move instances to another host, or give every model its memory_mb"
    )


def test_memory_is_bound_to_the_node_where_all_is_known_to_fit():
    two = machines.topology(sockets=2, cores=4, smt=1, memory_mb=16384)
    assert only(models=[model(memory_mb=1000)], machine=two)["memory"]["policy"] == "bind"
    assert only(machine=two)["memory"]["policy"] == "preferred"
    assert only()["memory"] | {"policy": "default", "mask": ""} == only()["memory"]


# -------------------------------------------------------------------------------------------------- the server's files


def test_the_models_file_says_which_versions_are_served():
    models = [
        model("one", version=7),
        model("latest", serve={"latest": 1}),
        model("all", serve={"all": True}),
        model("some", serve={"versions": [6, 7], "labels": {"stable": 6}}),
    ]
    found = only({"models": ["one", "latest", "all", "some"]}, models)["model_config"]["model_config_list"]["config"]
    assert [each["model_version_policy"] for each in found] == [
        {"specific": {"versions": [7]}},
        {"latest": {"num_versions": 1}},
        {"all": {}},
        {"specific": {"versions": [6, 7]}},
    ]
    assert [each["base_path"] for each in found] == [f"/var/lib/tfserving/models/{each['name']}" for each in models]
    assert found[3]["version_labels"] == {"stable": 6}


def test_models_and_their_versions_come_without_a_restart():
    before = only()
    changed = [
        only(models=[model(version=8)]),
        only(models=[model(serve={"versions": [6, 7], "labels": {"canary": 7}})]),
        only(models=[model(memory_mb=500)]),
        only({"models": ["ranker", "other"]}, [model(), model("other")]),
    ]
    assert {each["digest"] for each in changed} == {before["digest"]}


@pytest.mark.parametrize(
    "wish", [{"profile": "latency"}, {"cpus": 3}, {"environment": {"A": "1"}}, {"ports": {"rest": 9000}}]
)
def test_everything_else_is_due_for_a_restart(wish):
    assert only(wish)["digest"] != only()["digest"]


def test_another_release_of_the_server_is_due_for_a_restart():
    assert only(version="2.18.0")["digest"] != only()["digest"]


def test_flags_of_users_join_those_of_the_plan():
    found = only({"flags": {"grpc_channel_arguments": "a=1", "max_num_load_retries": 5}})
    assert found["flags"]["grpc_channel_arguments"] == "a=1"
    assert found["flags"]["max_num_load_retries"] == 5
    assert set(found["overrides"]) == {"flags.grpc_channel_arguments", "flags.max_num_load_retries"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": 1}, "tfserving_instances[0].flags.port: is set by the plan; set ports.grpc of the instance"),
        ({"rest_api_port": 1}, "set ports.rest of the instance"),
        ({"model_base_path": "/x"}, "list the models in models of the instance"),
        ({"enable_batching": True}, "set batching.enabled of the instance"),
        ({"monitoring_config_file": "/x"}, "metrics are always on"),
        ({"platform_config_file": "/x"}, "it would switch off the threads, batching and memory of the plan"),
        ({"grpc_max_thread": 4}, "flags.grpc_max_thread: the server has no such flag and would go on without it; did"),
        ({"enable_profiler": "no"}, "flags.enable_profiler: needs a boolean, not the string 'no'"),
        (
            {"model_config_file_poll_wait_seconds": 0},
            "is 0, so no change of the models would ever arrive; use 1 or more",
        ),
        ({"file_system_poll_wait_seconds": 0}, "flags.file_system_poll_wait_seconds: 0 is below 1"),
    ],
)
def test_flags_that_cannot_work_are_refused(flags, message):
    assert message in refusal({"flags": flags})


def test_labels_need_the_flag_that_lets_a_server_start_with_them():
    flags = {"allow_version_labels_for_unavailable_models": False}
    models = [model(serve={"versions": [7], "labels": {"stable": 7}})]
    assert only({"flags": flags})
    assert "is false, and a server with labels would not start; remove it, or the labels" in refusal(
        {"flags": flags}, models
    )


def test_a_flag_newer_than_the_server_is_refused():
    flags = {"enable_serialization_as_tensor_content": True}
    assert "needs 2.19.0 or newer, this host gets 2.18.0" in refusal({"flags": flags}, version="2.18.0")


def test_variables_of_users_win_over_those_of_the_plan():
    found = only({"environment": {"MALLOC_CONF": "narenas:1", "A": "b"}})
    assert {"MALLOC_CONF", "A"} & set(found["environment"]) == set()
    assert list(found["environment_digests"]) == ["A", "MALLOC_CONF"]
    assert found["overrides"] == ["environment.MALLOC_CONF", "environment.A"]


def test_the_allocator_can_be_left_out():
    assert only(jemalloc={"enabled": False})["environment"] == {}


def test_a_start_is_given_the_time_that_its_models_take():
    assert only(models=[model(memory_mb=10_000)])["start_timeout_s"] == 170
    assert only()["start_timeout_s"] == 190
    assert only({"gpus": 1}, machine=box(), **IMAGE)["start_timeout_s"] == 310


def test_the_profiler_stays_off_unless_the_policy_wants_it():
    assert only()["flags"]["enable_profiler"] is False
    assert only(profiler=True)["flags"]["enable_profiler"] is True


# ------------------------------------------------------------------------------------------------------------- builds


def test_gpus_need_a_build_that_apt_does_not_have():
    assert refusal({"gpus": 1}, machine=box()) == (
        "tfserving_instances[0].gpus: asks for GPUs, and the packages that apt installs are CPU builds; set"
        " tfserving_install_method to image or archive, or gpus to 0"
    )


@pytest.mark.parametrize("method", ["apt", "image"])
def test_upstream_builds_are_for_x86_64_only(method):
    arm = {**CPU_HOST, "architecture": "aarch64"}
    assert "for which upstream builds x86_64 only, and this host is aarch64; use archive" in refusal(
        machine=arm, install_method=method
    )
    assert only(machine=arm, **ARCHIVE)["environment"]["LD_PRELOAD"].startswith("/usr/lib/aarch64")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"preset": "balansed"}, "tfserving_allocator_preset: 'balansed' is not a preset; did you mean 'balanced'?"),
        ({"conf": {"dirty_decay": 1}}, "tfserving_allocator_conf.dirty_decay: is not a tuning option of jemalloc"),
    ],
)
def test_an_allocator_that_cannot_be_is_refused_by_the_users_name_for_it(policy, message):
    assert message in refusal(jemalloc=policy)


# -------------------------------------------------------------------------------------------- what the server runs on


def gpu_host(capability: str, driver: str = "580.95.05", **keys):
    """Return a host with two GPUs of a kind."""
    kind = {"name": "NVIDIA X", "compute_capability": capability, "driver_version": driver}
    return box(gpus=gpus(2, 2, **kind), **keys)


def test_a_gpu_that_the_release_holds_no_code_for_is_refused():
    assert refusal({"gpus": 1}, machine=gpu_host("5.2"), version="2.20.0", **IMAGE) == (
        "tfserving_version: 2.20.0 holds no code for this host's NVIDIA X (compute capability 5.2);"
        " set it to 2.19.1, the newest release that runs on it"
    )


def test_a_driver_that_is_too_old_for_the_release_is_refused():
    assert refusal({"gpus": 1}, machine=gpu_host("8.0", "515.65.01"), version="2.19.1", **IMAGE) == (
        "tfserving_version: 2.19.1 needs driver 525.60.13 or newer for CUDA 12.2, and this host has 515.65.01;"
        " set nvidia_driver_branch to 525 or newer"
    )


def test_gpus_that_no_instance_uses_are_not_held_against_a_host():
    assert plan(gpu_host("5.2"), [instance()], version="2.20.0", **IMAGE)["instances"]


def test_blackwell_is_refused_until_its_users_give_leave():
    assert "are known to fail on NVIDIA X" in refusal({"gpus": 1}, machine=gpu_host("10.0"), **IMAGE)
    assert only({"gpus": 1}, machine=gpu_host("10.0"), allow_unproven_gpus=True, **IMAGE)["gpus"]


def test_a_c_library_older_than_the_release_is_refused_unless_the_server_brings_its_own():
    old = {**CPU_HOST, "libc": "glibc 2.31"}
    assert refusal(machine=old, version="2.20.0") == (
        "tfserving_version: 2.20.0 is built for glibc 2.35, and this host has 2.31;"
        " set it to 2.19.1, or tfserving_install_method to image"
    )
    assert only(machine=old, version="2.20.0", **IMAGE)


def test_gpus_that_wait_for_a_boot_are_refused_to_those_who_ask_for_them():
    waiting = {"driver_waits_for_boot": ["the running kernel holds 535 and the libraries are 580"]}
    assert refusal({"gpus": 1}, machine=gpu_host("8.0"), **waiting, **IMAGE) == (
        "tfserving_instances[0].gpus: asks for GPUs that this host can use only after a reboot:"
        " the running kernel holds 535 and the libraries are 580;"
        " set nvidia_driver_reboot_ok, or reboot it and run this again"
    )
    assert only(machine=gpu_host("8.0"), **waiting, **IMAGE)


@pytest.mark.parametrize("mode", ["legacy", "hybrid"])
def test_rules_that_the_kernel_would_not_heed_are_warned_of(mode):
    machine = {**CPU_HOST, "cgroup_mode": mode}
    sentence = (
        f"tfserving_address_rules: systemd filters no addresses where the cgroup hierarchy is {mode}, so anyone can"
        " connect to the servers, and they to anyone; set it to nftables"
    )
    assert sentence in plan(machine)["warnings"]
    assert sentence not in plan(machine, address_rules="nftables")["warnings"]
    assert sentence not in plan({**machine, "cgroup_mode": "unified"})["warnings"]
