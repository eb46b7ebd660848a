# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans and topologies are what their types say, key by key."""

from __future__ import annotations

import machines
import pytest
import typed
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.schema import Plan
from hypothesis import assume, given
from planner_cases import IMAGE, box, instance, model, plan, topologies, wishes

KERNEL = {"sysctl": {"net.core.somaxconn": 9, "vm.swappiness": None}, "modules": ["tcp_bbr"], "governor": "powersave"}
CONTRACT = {"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 16]}}}
FIELDS = {"allowed_batch_sizes": [8, 32], "thread_pool_name": "batches", "pad_variable_length_inputs": True}


@given(topologies(), wishes())
def test_every_plan_is_of_its_type(machine, wished):
    try:
        made = plan(machine, *wished)
    except WishError:
        assume(False)
    assert typed.misfits(made, Plan) == []


@pytest.mark.parametrize(
    ("machine", "wish", "wished_model", "policy"),
    [
        (box(0), instance(slo_p99_ms=20, batching=FIELDS), model(contract=CONTRACT, memory_mb=900), {}),
        (box(), instance(gpus=2), model(probe=False), IMAGE),
        (box(0, sockets=1, cores=2), instance(), model(), {"kernel": KERNEL}),
        ({**box(), "virtualization": "docker"}, instance(environment={"A": "b"}), model(), {"batching": "off"}),
    ],
    ids=["batching", "gpus", "small", "container"],
)
def test_what_few_plans_have_is_of_its_type_too(machine, wish, wished_model, policy):
    assert typed.misfits(plan(machine, [wish], [wished_model], **policy), Plan) == []


def test_a_topology_that_is_read_is_of_its_type(tmp_path):
    shape = {"sockets": 2, "cores": 4, "gpus": [{"node": 0}, {"node": 1}], "nics": [{"node": 0}]}
    machines.build(tmp_path, **shape)
    found = topology.read(Tree(str(tmp_path)), ["0x10de"])
    assert (len(found["gpus"]), len(found["nics"])) == (2, 1)
    assert typed.misfits(found, Topology) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"warnings": "none"}, [".warnings: 'none' is no list[str]"]),
        ({"schema": True}, [".schema: True is no <class 'int'>"]),
        ({"more": 1}, [".more: is in no type"]),
        ({"paths": {"models": "/m"}}, [".paths.config: is missing"]),
        ({"partition": None}, [".partition: None is no Partition"]),
    ],
)
def test_what_is_of_another_type_is_found(change, words):
    assert typed.misfits({**plan(box()), **change}, Plan) == words
