# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What holds for every plan, whatever the machine and the wishes."""

from __future__ import annotations

import copy
import json
import random
import sys

import planner_cases as cases
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import flags as server_flags
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import textproto as text_proto
from hypothesis import assume, given, settings
from hypothesis import strategies as st

POLICIES = st.booleans().map(lambda leave: {**cases.IMAGE, "drain_then_swap": leave})
# To draw a machine and to plan it takes far longer than to look at the plan: these look at the same ones.
PROPERTIES = []


def of_every_plan(holds):
    """Have the test that draws plans ask this of each of them, too; it changes nothing of what it is given."""
    PROPERTIES.append(holds)
    return holds


def granted(topology, wishes, policy):
    """Return the plan, or turn to another example where this machine cannot grant the wishes."""
    try:
        return host_plan(topology, *wishes, policy)
    except WishError:
        assume(False)


@settings(max_examples=200)
@given(cases.topologies(), cases.wishes(), POLICIES)
def test_all_that_is_of_every_plan_holds(topology, wishes, policy):
    plan = granted(topology, wishes, policy)
    for holds in PROPERTIES:
        holds(topology, wishes, plan)


@given(cases.topologies(), cases.wishes(), POLICIES)
def test_a_machine_grants_a_wish_or_says_in_one_sentence_why_not(topology, wishes, policy):
    refusal = None
    try:
        host_plan(topology, *wishes, policy)
    except WishError as error:
        refusal = error
    if refusal:
        assert refusal.path.startswith("tfserving_")
        assert refusal.problem
        assert refusal.remedy
        assert "\n" not in str(refusal)


@of_every_plan
def serving_and_housekeeping_are_disjoint_and_cover_exactly_the_online_cpus(topology, _wishes, plan):
    housekeeping, serving = cases.cpus(plan["housekeeping"]), cases.cpus(plan["serving"])
    assert not housekeeping & serving
    assert housekeeping | serving == cases.online(topology)


@of_every_plan
def housekeeping_and_serving_never_share_a_core(topology, _wishes, plan):
    housekeeping = cases.cpus(plan["housekeeping"])
    for cpu in topology["cpus"]:
        siblings = set(cpu["siblings"]) & cases.online(topology)
        assert siblings <= housekeeping or not siblings & housekeeping


@of_every_plan
def the_system_keeps_an_eighth_of_the_cores_at_the_most(topology, _wishes, plan):
    core_of = {cpu["id"]: cpu["core"] for cpu in topology["cpus"]}
    kept, there = (
        {core_of[cpu] for cpu in part} for part in (cases.cpus(plan["housekeeping"]), cases.online(topology))
    )
    assert len(kept) <= -(-len(there) // 8)


@of_every_plan
def every_instance_has_serving_cpus_that_no_other_instance_has(_topology, _wishes, plan):
    serving = cases.cpus(plan["serving"])
    taken = set()
    for instance in plan["instances"]:
        mine = cases.cpus(instance)
        assert mine
        assert mine <= serving
        assert not mine & taken
        taken |= mine


@of_every_plan
def an_instance_with_a_count_of_cores_gets_that_many_whole_ones(topology, wishes, plan):
    core_of = {cpu["id"]: cpu["core"] for cpu in topology["cpus"]}
    for wish, instance in zip(wishes[0], plan["instances"]):
        if wish["cpus"] != "auto":
            cores = {core_of[cpu] for cpu in cases.cpus(instance)}
            assert len(cores) == wish["cpus"]
            assert cases.cpus(instance) == {cpu for cpu in cases.online(topology) if core_of[cpu] in cores}


@given(cases.topologies(), cases.wishes(), POLICIES)
def test_a_lone_instance_is_on_the_socket_of_its_gpu_and_first_on_its_node(topology, wishes, policy):
    only, models = wishes[0][0], wishes[1]
    plan = granted(topology, ([only], models), policy)
    home_of = {cpu["id"]: (cpu["socket"], cpu["node"]) for cpu in topology["cpus"]}
    homes = {gpu["node"] for gpu in topology["gpus"] if gpu["uuid"] in plan["instances"][0]["gpus"]}
    serving = {home_of[cpu] for cpu in cases.cpus(plan["serving"])}
    used = {home_of[cpu] for cpu in cases.cpus(plan["instances"][0])}
    if homes and homes <= {node for _, node in serving} and only["cpus"] == "auto":
        assert homes <= {node for _, node in used}
        assert {socket for socket, _ in used} == {socket for socket, node in serving if node in homes}


@of_every_plan
def nobody_on_auto_mixes_kinds_of_cores_on_a_node(topology, wishes, plan):
    kind_of = {cpu["id"]: (cpu["node"], cpu["kind"]) for cpu in topology["cpus"]}
    for wish, instance in zip(wishes[0], plan["instances"]):
        if wish["cpus"] == "auto":
            used = {kind_of[cpu] for cpu in cases.cpus(instance)}
            assert len(used) == len({node for node, _ in used})


@of_every_plan
def no_later_turn_has_performance_cores_where_an_earlier_one_has_none(topology, wishes, plan):
    kind_of = {cpu["id"]: cpu["kind"] for cpu in topology["cpus"]}
    turns = ("latency", "balanced", "throughput")
    node = {}
    for wish, instance in zip(wishes[0], plan["instances"]):
        if wish["cpus"] == "auto" and "-" not in instance["nodes"] and "," not in instance["nodes"]:
            fast = any(kind_of[cpu] == "performance" for cpu in cases.cpus(instance))
            node.setdefault(instance["nodes"], []).append((turns.index(wish["profile"]), fast))
    for found in node.values():
        latest = max((turn for turn, fast in found if fast), default=0)
        assert all(fast or turn >= latest for turn, fast in found)


@of_every_plan
def an_instance_without_gpus_on_auto_never_straddles_nodes(_topology, wishes, plan):
    for wish, instance in zip(wishes[0], plan["instances"]):
        if wish["cpus"] == "auto" and not wish["gpus"]:
            assert len(cpu_list.parse(instance["nodes"])) == 1


@of_every_plan
def the_computing_threads_are_the_cpus_of_the_instance(_topology, _wishes, plan):
    for instance in plan["instances"]:
        threads, count = instance["threads"], len(cases.cpus(instance))
        assert threads["intra_op"] + threads["inter_op"] == max(2, count)
        assert all(number >= 1 for number in threads.values())
        # One thread of each never holds a request: the event loop of REST, the polling one of gRPC.
        assert min(threads["rest"], threads["grpc"]) >= 2


@of_every_plan
def batches_are_bounded_by_the_objective(_topology, wishes, plan):
    for wish, instance in zip(wishes[0], plan["instances"]):
        batching = instance["batching"]
        if batching and wish["slo_p99_ms"]:
            assert batching["batch_timeout_micros"] <= wish["slo_p99_ms"] * 1000 / 10
            assert 1 <= batching["num_batch_threads"] <= len(cases.cpus(instance))


@given(cases.topologies(), cases.wishes(), POLICIES, st.none() | st.floats(0.01, 1))
def test_waiting_alone_never_takes_the_objective_with_the_batch_time_that_the_plan_states(
    topology, wishes, policy, share
):
    for wish in wishes[0]:
        wish["slo_p99_ms"] = wish["slo_p99_ms"] or 100
        wish["batching"] = {"expected_batch_ms": wish["slo_p99_ms"] * share} if share else {}
    plan = granted(topology, wishes, policy)
    for wish, instance in zip(wishes[0], plan["instances"]):
        batching = instance["batching"]
        if batching:
            side_by_side = len(instance["gpus"]) or batching["num_batch_threads"]
            rounds = -(-(batching["num_batch_threads"] + batching["max_enqueued_batches"]) // side_by_side)
            batch_ms = wish["slo_p99_ms"] * (share or 0.03)
            worst = batching["batch_timeout_micros"] / 1000 + rounds * batch_ms
            late = any("no batch can wait" in warning for warning in plan["warnings"])
            assert worst <= wish["slo_p99_ms"] * 1.000001 or (late and batching["max_enqueued_batches"] == 1)


@of_every_plan
def requests_can_fill_the_batches_that_run_and_the_one_that_forms(_topology, _wishes, plan):
    for instance in plan["instances"]:
        threads, batching = instance["threads"], instance["batching"]
        assert threads["grpc"] == threads["rest"] >= 34
        if batching:
            places = (batching["num_batch_threads"] + 1) * batching["max_batch_size"]
            assert threads["grpc"] - 1 >= min(places, 2048)


@of_every_plan
def shares_of_a_gpu_never_add_up_to_more_than_all_of_it(topology, _wishes, plan):
    for gpu in topology["gpus"]:
        tenants = [instance for instance in plan["instances"] if gpu["uuid"] in instance["gpus"]]
        shares = [instance["gpu_memory_fraction"] for instance in tenants]
        assert len(tenants) <= 1 or (all(shares) and sum(shares) <= 1)


@of_every_plan
def what_the_server_is_given_is_valid(_topology, _wishes, plan):
    for instance in plan["instances"]:
        server_flags.arguments(instance["flags"], plan["server"]["version"])
        text_proto.render(instance["model_config"], "ModelServerConfig")
        text_proto.render(instance["monitoring"], "MonitoringConfig")
        text_proto.render(instance["batching"] or {}, "BatchingParameters")


@of_every_plan
def the_limits_of_all_instances_together_leave_the_system_its_memory(topology, _wishes, plan):
    there = sum(node["memory_mb"] for node in topology["nodes"])
    if there:
        assert sum(instance["memory"]["max_mb"] for instance in plan["instances"]) <= there - min(there / 10, 16384)
    for instance in plan["instances"]:
        memory = instance["memory"]
        assert memory["expected_mb"] is None or memory["expected_mb"] <= memory["high_mb"] <= memory["max_mb"]


@of_every_plan
def memory_comes_from_nodes_that_have_some(topology, _wishes, plan):
    with_memory = {node["id"] for node in topology["nodes"] if node["memory_mb"]}
    parts = [plan["housekeeping"]["nodes"], plan["serving"]["nodes"]]
    parts += [instance["memory"]["mask"] for instance in plan["instances"]]
    for part in parts:
        assert not with_memory or set(cpu_list.parse(part)) <= with_memory


@given(cases.topologies(), cases.wishes(), POLICIES, st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_plan_in_whatever_order_it_is_listed(
    topology, wishes, policy, order: random.Random
):
    plan = granted(topology, wishes, policy)
    shuffled = copy.deepcopy(topology)
    for part in ("cpus", "gpus", "nics"):
        order.shuffle(shuffled[part])
    assert host_plan(shuffled, *wishes, policy) == plan


@given(cases.topologies(), cases.wishes(), POLICIES)
def test_planning_changes_none_of_its_input(topology, wishes, policy):
    before = copy.deepcopy((topology, wishes, policy))
    granted(topology, wishes, policy)
    assert (topology, wishes, policy) == before


@given(cases.topologies(), cases.wishes(), POLICIES)
def test_a_plan_is_plain_json_that_shares_nothing_with_the_wishes(topology, wishes, policy):
    plan = granted(topology, wishes, policy)
    assert json.loads(json.dumps(plan)) == plan
    wishes[1][0]["source"]["uri"] = "/elsewhere"
    assert plan["models"][0]["source"]["uri"] != "/elsewhere"


def figures(value, path=""):
    """Yield the path of every scalar in a part of a plan."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from figures(entry, f"{path}.{key}" if path else key)
    else:
        yield path


# What repeats a wish or another figure needs no reason of its own.
REPEATS = {
    "port",
    "rest_api_port",
    "model_config_file",
    "monitoring_config_file",
    "batching_parameters_file",
    "enable_batching",
    "per_process_gpu_memory_fraction",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "rest_api_num_threads",
    "grpc_max_threads",
    "num_load_threads",
    "num_unload_threads",
}


@of_every_plan
def every_figure_says_why(_topology, _wishes, plan):
    assert plan["housekeeping"]["reason"]
    assert plan["serving"]["reason"]
    for instance in plan["instances"]:
        keys = (
            "cpus",
            "nodes",
            "gpus",
            "threads",
            "batching",
            "gpu_memory_fraction",
            "memory",
            "flags",
            "environment",
            "start_timeout_s",
        )
        for path in figures({key: instance[key] for key in keys}):
            if path.partition(".")[2] not in REPEATS:
                assert instance["reasons"].get(path), path


def test_the_work_of_planning_grows_with_the_instances_and_no_faster():
    def calls(count):
        wishes = [cases.instance(f"i{number}", [f"m{number}"], gpus=1) for number in range(count)]
        models = [cases.model(f"m{number}", memory_mb=4000) for number in range(count)]
        made = 0

        def count_call(_frame, event, _argument):
            nonlocal made
            made += event == "call"

        host_plan(machine, wishes, models, cases.IMAGE)  # reads the tables
        sys.setprofile(count_call)
        try:
            host_plan(machine, wishes, models, cases.IMAGE)
        finally:
            sys.setprofile(None)
        return made

    machine = cases.box(16)
    # What instances are compared with one another takes the square of their number; it must stay a small part.
    assert calls(16) < 1.5 * 4 * calls(4)
