# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import planner_cases
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import space
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.space import Batches, Context, Setting
from hypothesis import given
from hypothesis import strategies as st
from tuning_cases import HOST, context

SETTING = Setting(Batches(32, 500, 2, 16), 3, 1, 80, 70)


def test_a_setting_becomes_the_plan_that_has_it():
    plan = context().plan_of(SETTING)
    assert plan["batching"] == {
        "max_batch_size": 32,
        "batch_timeout_micros": 500,
        "num_batch_threads": 2,
        "max_enqueued_batches": 16,
    }
    assert plan["threads"]["intra_op"] == 3
    assert plan["threads"]["grpc"] == 80
    assert plan["flags"]["grpc_max_threads"] == 80
    assert space.of_plan(plan) == SETTING


def test_no_batches_are_a_plan_without_batching():
    plan = context().plan_of(dataclasses.replace(SETTING, batches=None))
    assert plan["batching"] is None
    assert plan["flags"].get("enable_batching") in (None, False)


@given(planner_cases.topologies(), st.sampled_from(["latency", "balanced", "throughput"]), st.sampled_from([0, 1]))
def test_every_plan_is_a_setting_that_gives_the_same_plan(machine, profile, gpus):
    if gpus and not machine.get("gpus"):
        gpus = 0
    keys = {"policy": {}} if not gpus else {"policy": planner_cases.IMAGE}
    instances = [planner_cases.instance(profile=profile, gpus=gpus)]
    place = Context(machine, instances, [planner_cases.model()], keys["policy"], planner_cases.KEY, "ranker")
    try:
        plan = place.planned()
    except WishError:
        return
    again = place.plan_of(space.of_plan(plan))
    assert again["digest"] == plan["digest"]


def test_fields_beside_the_search_space_stay():
    asked = context(batching={"pad_variable_length_inputs": True}, flags={"file_system_poll_wait_seconds": 5})
    plan = asked.plan_of(SETTING)
    assert plan["batching"]["pad_variable_length_inputs"] is True
    assert plan["flags"]["file_system_poll_wait_seconds"] == 5
    assert asked.plan_of(dataclasses.replace(SETTING, batches=None))["batching"] is None


def test_a_user_s_own_sizes_are_replaced():
    assert context(batching={"max_batch_size": 8, "allowed_batch_sizes": [4, 8]}).canonical(SETTING) == SETTING


def test_on_a_gpu_the_planner_adds_the_sizes_to_pad_to():
    place = Context(
        planner_cases.box(1),
        [planner_cases.instance(gpus=1)],
        [planner_cases.model()],
        planner_cases.IMAGE,
        planner_cases.KEY,
        "ranker",
    )
    assert place.canonical(SETTING).batches.allowed_batch_sizes == (1, 2, 4, 8, 16, 32)
    assert place.canonical(place.canonical(SETTING)) == place.canonical(SETTING)


def test_other_instances_keep_their_place():
    instances = [planner_cases.instance("other", cpus=1), planner_cases.instance(cpus=2)]
    place = Context(HOST, instances, [planner_cases.model()], {}, planner_cases.KEY, "ranker")
    assert place.plan_of(dataclasses.replace(SETTING, intra_op=1))["cpus"] == place.planned()["cpus"]


def test_an_inventory_without_instances_has_the_one_that_serves_all():
    place = Context(HOST, [], [planner_cases.model()], {}, planner_cases.KEY, "main")
    assert place.canonical(SETTING) == SETTING


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            SETTING.with_batches(num_batch_threads=9),
            "tfserving_instances[0].batching.num_batch_threads: is 9, and the instance is pinned to 4 CPUs; use at most"
            " 4, or give the instance more cores",
        ),
        (
            SETTING.with_batches(batch_timeout_micros=60_000),
            "tfserving_instances[0].batching.batch_timeout_micros: lets a request wait 60 ms for others, the objective"
            " is 50 ms in all; use at most 5000, or raise slo_p99_ms",
        ),
        (
            dataclasses.replace(SETTING, inter_op=4),
            "tfserving_instances[0].flags.tensorflow_inter_op_parallelism: brings the computing threads to 3 intra-op +"
            " 4 inter-op, and the instance is pinned to 4 CPUs; keep the sum within 4, or give the instance more cores",
        ),
    ],
)
def test_the_planner_refuses_what_is_illegal(setting, sentence):
    with pytest.raises(WishError) as caught:
        context().plan_of(setting)
    assert str(caught.value) == sentence


def test_an_unknown_instance_is_named_with_those_there_are():
    with pytest.raises(WishError) as caught:
        dataclasses.replace(context(), instance="rankr").planned()
    assert str(caught.value) == ("instance: is not an instance of this host; name one of tfserving_instances: ranker")


@pytest.mark.parametrize("setting", [SETTING, dataclasses.replace(SETTING, batches=None)])
def test_a_setting_is_written_and_read_back(setting):
    assert space.from_json(setting.to_json()) == setting


@pytest.mark.parametrize("data", [None, {}, {"batching": {}, "threads": {}}, {"batching": None, "threads": []}])
def test_what_is_not_a_setting_is_refused(data):
    with pytest.raises(ValueError, match="not a setting"):
        space.from_json(data)


def test_a_machine_runs_as_many_calls_as_it_has_cpus_or_gpus():
    assert space.Machine(8, 0).servers(dataclasses.replace(SETTING, batches=None)) == 8
    assert space.Machine(8, 0).servers(SETTING) == 2
    assert space.Machine(8, 0).servers(SETTING.with_batches(num_batch_threads=8), busy_cpus=4) == 2
    assert space.Machine(8, 1).servers(SETTING) == 1
