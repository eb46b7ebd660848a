# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory of GPUs and hosts: shares, swaps, limits, binding."""

from __future__ import annotations

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from planner_cases import CPU_HOST, IMAGE, box, gpus, instance, model, only, plan, refusal


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
