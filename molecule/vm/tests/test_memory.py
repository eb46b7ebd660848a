# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where memory comes from, asked of the kernel."""

from __future__ import annotations

import pytest
from live import cpus

INSTANCES = ("first", "second")
MIB = 1 << 20


@pytest.mark.parametrize(("name", "node"), [("first", 0), ("second", 1)])
def test_an_instances_memory_lies_beside_its_gpu(live, name, node):
    assert cpus(live.instances[name]["nodes"]) == {node}
    pages = live.pages(name)
    assert sum(pages.values()) * 4096 > 32 * MIB, "the stand-in keeps 32 MiB"
    assert pages.get(node, 0) / sum(pages.values()) > 0.95


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instances_memory_policy_is_the_plans(live, name):
    memory = live.instances[name]["memory"]
    words = {"preferred": f"prefer:{memory['mask']}", "bind": f"bind:{memory['mask']}"}
    assert live.policies(name) == {words.get(memory["policy"], "default")}


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_has_the_memory_limits_of_the_plan(live, name):
    group = live.seen["cgroups"][live.unit(name)["ControlGroup"]]
    memory = live.instances[name]["memory"]
    for file, planned in (("memory.max", memory["max_mb"]), ("memory.high", memory["high_mb"])):
        assert group[file] == ("max" if planned is None else str(planned * MIB)), file
