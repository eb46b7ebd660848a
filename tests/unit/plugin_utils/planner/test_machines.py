# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which CPUs and GPUs go to whom, on machines that everybody knows."""

from __future__ import annotations

import re

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from planner_cases import IMAGE, box, cpus, gpus, instance, model, plan


def on(plan_, name):
    return next(each for each in plan_["instances"] if each["name"] == name)


def test_a_gpu_box_gives_each_gpu_an_equal_share_of_the_cores_beside_it():
    wishes = [instance(f"i{number}", gpus=1) for number in range(8)]
    found = plan(box(), wishes, **IMAGE)
    assert found["housekeeping"]["cpus"] == "0-1,32-33,64-65,96-97"
    assert found["housekeeping"]["nodes"] == found["serving"]["nodes"] == "0-1"
    assert sorted(len(cpus(each)) for each in found["instances"]) == [14, 14, 14, 14, 16, 16, 16, 16]
    assert {each["nodes"] for each in found["instances"] if each["gpus"] < ["GPU-0004"]} == {"0"}
    assert {each["nodes"] for each in found["instances"] if each["gpus"] >= ["GPU-0004"]} == {"1"}
    assert found["warnings"] == []


def test_a_core_comes_with_all_of_its_threads():
    (only,) = plan(box(), [instance(gpus=1, cpus=4)], **IMAGE)["instances"]
    assert only["cpus"] == "2-5,66-69"
    assert only["reasons"]["cpus"].startswith(
        "(override) 4 cores (8 CPUs, all threads of each) on node 0, beside its GPUs"
    )
    assert only["overrides"] == ["cpus"]


def test_four_cores_are_split_and_three_are_not():
    split = plan(machines.topology(sockets=1, cores=4, smt=1))
    assert (split["housekeeping"]["cpus"], split["serving"]["cpus"]) == ("0", "1-3")
    whole = plan(machines.topology(sockets=1, cores=3, smt=2))
    assert (whole["housekeeping"]["cpus"], whole["housekeeping"]["nodes"], whole["serving"]["cpus"]) == ("", "", "0-5")
    assert whole["warnings"] == [
        "the host has 3 cores online, fewer than the 4 from which it is split;"
        " the system and the servers share all CPUs"
    ]


def test_a_machine_with_one_cpu_serves_with_the_least_there_is():
    (only,) = plan(machines.topology(sockets=1, cores=1, smt=1))["instances"]
    assert only["cpus"] == "0"
    assert (only["threads"]["intra_op"], only["threads"]["inter_op"]) == (1, 1)
    assert "the only CPU" in only["reasons"]["threads.intra_op"]


def test_the_system_takes_efficiency_cores_first():
    hybrid = machines.topology(sockets=1, cores=6, smt=2, hybrid=8)
    found = plan(hybrid)
    kinds = {cpu["id"]: cpu["kind"] for cpu in hybrid["cpus"]}
    assert {kinds[cpu] for cpu in cpus(found["housekeeping"])} == {"efficiency"}


HYBRID = machines.topology(sockets=1, cores=6, smt=2, hybrid=8)


def kinds_of(found, machine=HYBRID):
    """Return the cores of each instance by kind, as `6P` or `3P+1E`."""
    kind_of = {cpu["id"]: (cpu["core"], cpu["kind"]) for cpu in machine["cpus"]}
    result = {}
    for each in found["instances"]:
        cores = {kind_of[cpu] for cpu in cpus(each)}
        counts = {kind[0].upper(): sum(one == kind for _, one in cores) for kind in ("performance", "efficiency")}
        result[each["name"]] = "+".join(f"{count}{kind}" for kind, count in counts.items() if count)
    return result


def hybrid(*wished, **shape):
    """Plan for a machine with six performance cores, and seven efficiency cores left, unless told otherwise."""
    machine = machines.topology(**{"sockets": 1, "cores": 6, "smt": 2, "hybrid": 8, **shape})
    return kinds_of(plan(machine, [instance(profile, profile=profile, **keys) for profile, keys in wished]), machine)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("wishes", "kinds"),
    [
        ("latency throughput", "6P 7E"),
        ("balanced throughput", "6P 7E"),
        ("latency balanced throughput", "3P 3P 7E"),
        ("latency*4 balanced throughput", "6P 4E 3E"),
        # Counts are granted before shares, and leave performance cores to those whose turn is before.
        ("latency throughput=4", "6P 4E"),
        ("latency=5 throughput=4", "5P 4E"),
        ("latency=4 balanced=2 throughput=3", "4P 2P 3E"),
        # Nobody straddles kinds who fits one.
        ("latency=7", "7E"),
        ("latency=4 balanced=3", "4P 3E"),
        ("latency throughput=8", "5P 1P+7E"),
    ],
)  # fmt: skip
def test_performance_cores_go_by_profile_whatever_the_order(wishes, kinds, backwards):
    """Wishes are written as PROFILE, PROFILE*WEIGHT or PROFILE=CORES."""
    wished = []
    for wish in wishes.split():
        profile, cores, weight = re.fullmatch(r"(\w+)(?:=(\d+))?(?:\*(\d+))?", wish).groups()
        wished.append((profile, {"cpus": int(cores) if cores else "auto", "weight": int(weight or 1)}))
    found = hybrid(*(reversed(wished) if backwards else wished))
    assert " ".join(found[profile] for profile, _ in wished) == kinds


@pytest.mark.parametrize(
    ("profile", "efficient", "kinds"),
    [("latency", 17, "6P"), ("balanced", 17, "6P"), ("throughput", 9, "6P"), ("throughput", 10, "9E")],
)
def test_a_lone_instance_keeps_to_one_kind(profile, efficient, kinds):
    assert hybrid((profile, {}), hybrid=efficient) == {profile: kinds}


def test_cores_of_a_kind_that_nobody_uses_are_a_warning():
    assert plan(HYBRID)["warnings"] == [
        "no instance uses the 7 efficiency cores of node 0; an instance on auto keeps to one kind, so add one for them"
        " to tfserving_instances"
    ]


def test_an_instance_that_fits_no_kind_mixes_them_with_a_warning():
    assert plan(HYBRID, [instance(cpus=9)])["warnings"] == [
        "tfserving_instances[0].cpus: 'ranker' mixes performance and efficiency cores, and an op that runs on both"
        " waits for the slow ones; cpus: 6 would give it performance cores alone"
    ]


def test_latency_goes_to_the_node_that_has_performance_cores():
    machine = machines.topology(sockets=2, cores=8, smt=1)
    for cpu in machine["cpus"]:
        cpu["kind"] = "performance" if cpu["node"] == 1 else "efficiency"
    found = plan(machine, [instance("a", profile="throughput"), instance("b", profile="latency")])
    assert [each["nodes"] for each in found["instances"]] == ["0", "1"]


def clustered(where, **shape):
    """Return a machine of two sockets, each of two nodes of 15 cores, with GPUs on the nodes that are named."""
    devices = [{**gpu, "node": node} for gpu, node in zip(gpus(len(where)), where)]
    usual = {"sockets": 2, "nodes_per_socket": 2, "cores": 15, "smt": 1, "memory_mb": 65536, "gpus": devices}
    return machines.topology(**{**usual, **shape})


def test_an_instance_with_gpus_on_several_nodes_keeps_to_one_kind_of_core_on_idle_nodes_too():
    machine = clustered([4, 5], nodes_per_socket=4, cores=1, hybrid=1)
    (found,) = plan(machine, [instance(profile="latency", gpus=2)], **IMAGE)["instances"]
    kinds = {cpu["id"]: cpu["kind"] for cpu in machine["cpus"]}
    assert found["nodes"] == "4-7"
    assert {kinds[cpu] for cpu in cpus(found)} == {"performance"}


def test_gpu_instances_use_idle_nodes_of_their_socket():
    wishes = [instance("a", gpus=[0]), instance("b", gpus=[1])]
    found = plan(clustered([0, 2]), wishes, **IMAGE)
    assert [(each["nodes"], len(cpus(each))) for each in found["instances"]] == [("0-1", 28), ("2-3", 28)]
    assert found["warnings"] == []
    assert (found["instances"][0]["memory"]["policy"], found["instances"][0]["memory"]["mask"]) == ("interleave", "0-1")
    assert found["instances"][0]["reasons"]["cpus"] == (
        "28 cores on nodes 0-1, on the socket of its GPUs, since their own node has no more cores; its share by"
        " weight 1"
    )


def test_several_gpu_instances_of_a_socket_are_packed_node_by_node():
    wishes = [instance(f"i{number}", gpus=[number]) for number in range(4)]
    found = plan(clustered([0, 0, 0, 0]), wishes, **IMAGE)
    assert [(each["nodes"], len(cpus(each))) for each in found["instances"]] == [
        ("0", 7), ("0", 7), ("1", 7), ("1", 7)
    ]  # fmt: skip
    assert found["instances"][2]["memory"]["mask"] == "1"
    assert [warning for warning in found["warnings"] if "i2" in warning] == []


@pytest.mark.parametrize("nodes", [3, 4, 8])
def test_an_instance_uses_all_nodes_of_its_socket_however_many(nodes):
    machine = clustered([nodes - 1, nodes], nodes_per_socket=nodes)
    wishes = [instance("a", gpus=[0]), instance("b", gpus=[1])]
    found = plan(machine, wishes, **IMAGE)
    assert [each["nodes"] for each in found["instances"]] == [f"0-{nodes - 1}", f"{nodes}-{2 * nodes - 1}"]


def test_nodes_that_others_live_on_stay_theirs():
    wishes = [instance("gpu", gpus=[0]), *(instance(name) for name in ("a", "b", "c"))]
    found = plan(clustered([0]), wishes, **IMAGE)
    assert [each["nodes"] for each in found["instances"]] == ["0", "1", "2", "3"]


def test_counted_cores_stay_on_the_socket_of_the_gpu():
    (only,) = plan(clustered([2]), [instance(gpus=1, cpus=20)], **IMAGE)["instances"]
    assert only["nodes"] == "2-3"


def test_counted_cores_without_gpus_stay_on_one_socket_as_well():
    wishes = [instance("a", cpus=10), instance("b", cpus=20)]
    found = plan(clustered([], offline=[0, 15]), wishes)
    assert on(found, "b")["nodes"] == "2-3"
    assert on(found, "a")["nodes"] in ("0", "1")


def test_nodes_of_unknown_socket_are_neighbours_of_none():
    machine = clustered([0])
    for cpu in machine["cpus"]:
        cpu["socket"] = None
    (only,) = plan(machine, [instance(gpus=1)], **IMAGE)["instances"]
    assert only["nodes"] == "0"


def test_counted_cores_are_performance_cores_as_long_as_there_are_any():
    hybrid = machines.topology(sockets=1, cores=6, smt=2, hybrid=8)
    found = plan(hybrid, [instance(cpus=6)])
    kinds = {cpu["id"]: cpu["kind"] for cpu in hybrid["cpus"]}
    assert {kinds[cpu] for cpu in cpus(found["instances"][0])} == {"performance"}
    assert found["warnings"] == []


@pytest.mark.parametrize(("cores", "kept"), [(5, 1), (16, 1), (17, 2), (64, 2)])
def test_large_nodes_keep_two_cores_for_the_system_and_others_one(cores, kept):
    found = plan(machines.topology(sockets=2, cores=cores, smt=1))
    assert len(cpus(found["housekeeping"])) == 2 * kept


@pytest.mark.parametrize(
    ("nodes", "cores", "nics", "kept"),
    [
        # A core of each would be half of these hosts, and a quarter.
        (8, 2, [0], [0]),
        (8, 2, [5], [10]),
        (8, 2, [], [0]),
        (8, 2, [2, 6], [4, 12]),
        (8, 2, [0, 1, 2, 3], [0, 2]),
        (2, 4, [1], [4]),
        # A host of 64 cores keeps two, wherever they are; a node never gives its last one.
        (32, 2, [3], [0, 6]),
        # Not more than what every node of eight cores gives.
        (8, 8, [3], [0, 8, 16, 24, 32, 40, 48, 56]),
    ],
)
def test_small_nodes_keep_cores_for_the_system_where_the_nics_are(nodes, cores, nics, kept):
    machine = machines.topology(sockets=1, nodes_per_socket=nodes, cores=cores, smt=1, nics=[{"node": n} for n in nics])
    assert sorted(cpus(plan(machine)["housekeeping"])) == kept


def test_the_system_may_use_memory_of_every_node():
    found = plan(machines.topology(sockets=1, nodes_per_socket=8, cores=2, smt=1, nics=[{"node": 5}]))
    assert found["housekeeping"]["nodes"] == found["serving"]["nodes"] == "0-7"
    assert found["housekeeping"]["reason"] == (
        "1 whole core for the system, agents and interrupts: 1 on node 5; NICs on node 5"
    )


def test_the_policy_may_keep_a_larger_share_of_small_nodes():
    machine = machines.topology(sockets=1, nodes_per_socket=8, cores=2, smt=1)
    assert len(cpus(plan(machine, housekeeping={"largest_share": 0.5})["housekeeping"])) == 8
    assert len(cpus(plan(machine, housekeeping={"cores_per_node": 1})["housekeeping"])) == 8


def test_a_node_never_gives_its_last_core_to_the_system():
    found = plan(machines.topology(sockets=4, cores=1, smt=2), housekeeping={"cores_per_node": 3})
    assert (found["housekeeping"]["cpus"], found["serving"]["cpus"]) == ("0,4", "1-3,5-7")


def test_the_policy_may_keep_more_cores():
    found = plan(machines.topology(sockets=1, cores=16, smt=1), housekeeping={"cores_per_node": 3})
    assert found["housekeeping"]["cpus"] == "0-2"


def test_offline_cpus_and_sparse_numbers_are_ordinary():
    machine = machines.topology(sockets=2, cores=4, smt=2, sparse=True, offline=[6])
    found = plan(machine)
    assert cpus(found["housekeeping"]) | cpus(found["serving"]) == {0, 2, 4, 8, 10, 12, 14, *range(16, 32, 2)}
    # Node 3 has all of its four cores, node 0 lost a CPU, whose sibling stays, and a core to the system.
    assert found["instances"][0]["nodes"] == "3"


def test_instances_without_gpus_go_where_most_room_is():
    wishes = [instance("gpu", gpus=4), instance("a"), instance("b")]
    found = plan(box(4, gpus=gpus(4)), wishes, **IMAGE)
    assert on(found, "gpu")["nodes"] == "0"
    assert on(found, "a")["nodes"] == on(found, "b")["nodes"] == "1"


def test_shares_follow_weights():
    wishes = [instance("a", weight=2), instance("b", weight=1)]
    found = plan(machines.topology(sockets=1, cores=13, smt=1), wishes)
    assert [len(cpus(each)) for each in found["instances"]] == [8, 4]


def test_counts_are_granted_before_shares():
    wishes = [instance("a"), instance("b", cpus=9)]
    found = plan(machines.topology(sockets=1, cores=13, smt=1), wishes)
    assert [len(cpus(each)) for each in found["instances"]] == [3, 9]


def test_an_instance_that_fits_on_no_node_straddles_them_with_a_warning():
    found = plan(machines.topology(sockets=2, cores=9, smt=1), [instance(cpus=10)])
    assert found["instances"][0]["nodes"] == "0-1"
    assert found["instances"][0]["memory"]["policy"] == "interleave"
    assert found["warnings"] == [
        "tfserving_instances[0].cpus: 'ranker' does not fit on one node and spans nodes 0-1; ask for fewer cores"
    ]


def test_a_node_that_nobody_uses_is_a_warning():
    found = plan(machines.topology(sockets=2, cores=9, smt=1))
    assert found["warnings"] == [
        "no instance uses the 8 serving cores of node 1; an instance stays on one node, so add one for each to"
        " tfserving_instances"
    ]


def test_gpus_of_one_instance_come_from_one_node():
    wishes = [instance("two", gpus=2), instance("three", gpus=3)]
    found = plan(box(), wishes, **IMAGE)
    assert on(found, "three")["gpus"] == ["GPU-0000", "GPU-0001", "GPU-0002"]
    assert on(found, "two")["gpus"] == ["GPU-0004", "GPU-0005"]


def test_gpus_on_two_nodes_bring_cores_of_both():
    (only,) = plan(box(), [instance(gpus=8)], **IMAGE)["instances"]
    assert only["nodes"] == "0-1"
    assert len(cpus(only)) == 120


def test_listed_gpus_are_taken_literally_and_counted_ones_are_never_shared():
    wishes = [instance("any", gpus=1), instance("x", gpus=[0, "GPU-0001"]), instance("y", gpus=["gpu-0001"])]
    found = plan(box(), wishes, **IMAGE)
    assert on(found, "x")["gpus"] == ["GPU-0000", "GPU-0001"]
    assert on(found, "y")["gpus"] == ["GPU-0001"]
    assert on(found, "any")["gpus"] == ["GPU-0004"]


def test_gpus_without_uuid_go_by_their_index():
    (only,) = plan(box(gpus=gpus(2, uuid=None)), [instance(gpus=2)], **IMAGE)["instances"]
    assert only["gpus"] == [0, 1]
    assert only["environment"]["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_gpu_that_the_driver_does_not_list_is_none():
    devices = gpus(2)
    devices[1]["index"] = None
    with pytest.raises(WishError, match=r"host has 1, and 0000:11:00\.0 \(nvidia-smi leaves it out\); ask for fewer"):
        plan(box(gpus=devices), [instance(gpus=2)], **IMAGE)


def test_a_gpu_of_unknown_place_is_a_warning():
    found = plan(box(gpus=gpus(1, node=None)), [instance(gpus=1)], **IMAGE)
    assert found["warnings"][0].startswith(
        "tfserving_instances[0].gpus: the firmware does not report the node of GPU 0, so the CPUs"
    )


def test_a_gpu_whose_node_has_no_cores_gets_those_that_the_bus_calls_near():
    machine = box(gpus=gpus(1, node=0), offline=[*range(32), *range(64, 96)])
    machine["gpus"][0]["local_cpus"] = list(range(40, 50))
    (only,) = plan(machine, [instance(gpus=1)], **IMAGE)["instances"]
    assert only["nodes"] == "1"


def sliced(count):
    parts = [{"index": number, "profile": "1g.10gb", "uuid": f"MIG-{number}"} for number in range(count)]
    return box(gpus=gpus(1, mig={"mode": "enabled", "instances": parts}))


def test_mig_slices_are_had_by_their_profile():
    found = plan(sliced(3), [instance("a", gpus=["1g.10gb"]), instance("b", gpus=["MIG-0"])], **IMAGE)
    assert on(found, "b")["gpus"] == ["MIG-0"]
    assert on(found, "a")["gpus"] == ["MIG-1"]


@pytest.mark.parametrize(
    ("machine", "wish", "message"),
    [
        (box(), {"gpus": [9]}, "asks for GPU 9, the host has 0-7; choose among those"),
        (box(1), {"gpus": [1]}, "asks for GPU 1, the host has GPU 0 only; choose among those"),
        (box(), {"gpus": ["GPU-9999"]}, "asks for 'GPU-9999', the host has 0-7"),
        (box(), {"gpus": 9}, "asks for 9 GPUs, the host has 8; ask for fewer"),
        (
            box(0),
            {"gpus": 1},
            "asks for GPUs, the host has none; set it to 0, or run this instance on a host with GPUs",
        ),
        (box(), {"gpus": [0, "GPU-0000"]}, "names GPU 0 a second time; leave it out"),
        (sliced(2), {"gpus": [0]}, "asks for GPU 0, which is cut into 2 MIG slices; name a slice, such as MIG-0"),
        (sliced(1), {"gpus": [0]}, "asks for GPU 0, which is cut into 1 MIG slice; name a slice, such as MIG-0"),
        (
            sliced(2),
            {"gpus": ["MIG-0", "MIG-1"]},
            "comes to MIG slice 0 of GPU 0 and MIG slice 1 of GPU 0, and CUDA gives a process one",
        ),
        (sliced(2), {"gpus": ["MIG-7"]}, "asks for 'MIG-7', the host has MIG-0 (1g.10gb) and MIG-1 (1g.10gb)"),
    ],
)
def test_gpus_that_are_not_there_are_refused(machine, wish, message):
    with pytest.raises(WishError) as caught:
        plan(machine, [instance(**wish)], **IMAGE)
    assert str(caught.value).startswith("tfserving_instances[0].gpus")
    assert message in str(caught.value)


def test_gpus_that_are_taken_are_refused():
    with pytest.raises(WishError, match=r"\[1\].gpus: asks for 3 GPUs, the host has 8, of which 2 are not yet taken"):
        plan(box(), [instance("a", gpus=6), instance("b", gpus=3)], **IMAGE)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            [{"cpus": 16}],
            "tfserving_instances[0].cpus: asks for 16 cores, the host has 15 for serving; ask for at most 15",
        ),
        (
            [{"cpus": 10}, {"cpus": 6}],
            "tfserving_instances[1].cpus: asks for 6 cores, the host has 15 for serving, of which 10 go to instances"
            " before it; ask for at most 5",
        ),
        (
            [{"cpus": 15}, {}],
            "tfserving_instances[0].cpus: asks for 15 cores, the host has 15 for serving, and the 1 instance on auto"
            " get at least one each; ask for at most 14",
        ),
        (
            [{}] * 31,
            "tfserving_instances: lists 31 instances, the host has CPUs for 30 of them; move some to another host",
        ),
    ],
)
def test_cores_that_are_not_there_are_refused(wishes, message):
    machine = machines.topology(sockets=1, cores=16, smt=2)
    with pytest.raises(WishError) as caught:
        plan(machine, [instance(f"i{number}", **wish) for number, wish in enumerate(wishes)])
    assert str(caught.value).startswith(message)


def test_more_instances_than_cores_share_cores_thread_by_thread_with_a_warning():
    found = plan(machines.topology(sockets=1, cores=1, smt=2), [instance("a"), instance("b")])
    assert [each["cpus"] for each in found["instances"]] == ["0", "1"]
    assert found["warnings"][1] == (
        "tfserving_instances[0].cpus: 'a' shares a core, because this host has fewer cores than instances"
    )


def test_a_node_without_memory_uses_that_of_the_nearest():
    machine = machines.topology(sockets=3, cores=8, smt=1)
    machine["nodes"][0].update(memory_mb=0, distances=[10, 31, 20])
    found = plan(machine, [instance(cpus=3)])
    assert found["housekeeping"]["nodes"] == found["serving"]["nodes"] == "1-2"
    assert (found["instances"][0]["nodes"], found["instances"][0]["memory"]["mask"]) == ("0", "2")


def test_memory_beside_no_cpus_may_be_used_and_is_nobodys_first_choice():
    machine = machines.topology(sockets=2, cores=8, smt=1, memory_mb=16384)
    machine["nodes"].append({"id": 2, "cpus": [], "memory_mb": 65536, "distances": [20, 20, 10]})
    machine["memory_mb"] += 65536
    found = plan(machine, None, [model(memory_mb=1000)])
    assert found["housekeeping"]["nodes"] == found["serving"]["nodes"] == "0-2"
    assert found["instances"][0]["memory"]["mask"] == "0"


def test_memory_on_no_node_of_the_host_is_not_the_hosts():
    machine = machines.topology(sockets=2, cores=4, smt=1, memory_mb=16384)
    machine["memory_mb"] = 3 * 32768
    (only,) = plan(machine)["instances"]
    assert only["memory"]["max_mb"] == 32768 * 9 // 10


def test_a_host_that_serves_nothing_has_a_plan_as_well():
    found = plan(box(0), [], [])
    assert found["instances"] == found["models"] == found["warnings"] == []
    assert found["serving"]["cpus"]


def test_what_the_topology_could_not_tell_is_a_warning():
    machine = machines.topology(sockets=1)
    machine["problems"] = ["nvidia-smi took more than 10 s"]
    assert plan(machine)["warnings"] == ["topology: nvidia-smi took more than 10 s"]


@pytest.mark.parametrize("topology", [None, {}, {"cpus": [{}]}, {"cpus": []}, "hardware"])
def test_what_is_no_topology_is_refused(topology):
    with pytest.raises(WishError, match=r"^topology"):
        plan(topology)


def test_many_instances_without_gpus_move_none_with_a_gpu_off_its_node():
    found = plan(box(), [instance("gpu", gpus=1), *(instance(f"i{number}") for number in range(40))], **IMAGE)
    assert on(found, "gpu")["nodes"] == "0"


def test_models_are_recorded_without_their_headers():
    source = {
        "type": "http",
        "uri": "https://x.example/m.tgz",
        "sha256": "a" * 64,
        "headers": {"Authorization": "secret"},
    }
    (found,) = plan(box(0), None, [model(source=source)])["models"]
    assert "secret" not in str(found)
    assert found["provided"] == found["versions"] == [7]
