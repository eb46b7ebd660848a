# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the module makes of its options, without a host to be partitioned."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.partition import Done, Host
from ansible_collections.tfserving.fleet.plugins.modules import cpu_partition
from running import run_module

WISH = {
    "partition": {"mode": "affinity", "reason": "a reason", "warnings": ["a warning"]},
    "boot_parameters": ["rcu_nocbs=2-3"],
    "_ansible_check_mode": True,
}


@pytest.fixture
def brought(monkeypatch):
    """What the host was brought in line with."""
    seen = []

    def bring(_host, partition):
        seen.append(partition)
        return Done(problems=["a problem"])

    monkeypatch.setattr(Host, "bring", bring)
    return seen


def test_a_partition_is_brought_and_its_warnings_are_told(brought):
    result = run_module(cpu_partition, **WISH)
    assert brought == [WISH["partition"]]
    assert result["remarks"] == ["a warning", "a problem"]
    assert result["boot_parameters"]["missing"] == ["rcu_nocbs=2-3"]


def test_a_partition_that_is_to_go_is_lifted_and_asks_for_no_parameter_of_the_kernel(brought):
    result = run_module(cpu_partition, state="absent", **WISH)
    assert [each["mode"] for each in brought] == ["none"]
    assert result["remarks"] == ["cpu_partition_state is absent: nothing is kept apart", "a problem"]
    assert result["boot_parameters"]["missing"] == []
