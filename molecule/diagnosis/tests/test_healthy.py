# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host without a fault gets none: at rest, with few calls and with many. And a diagnosis changes nothing on it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from faulty_host import load

FILES = (
    "find /etc /var/lib/tfserving /var/lib/tfserving-fleet /run/systemd/system /run/systemd/transient -xdev -type f"
    " -exec sha256sum {} + 2> /dev/null | sort"
)
# Callers of each server, and what each waits after an answer.
LOADS = {"at rest": (0, 0.0), "few calls": (1, 0.05), "many calls": (2, 0.0)}


def causes(found):
    return [
        (each["id"], each["instance"], each["evidence"]) for each in found["findings"] if each["verdict"] == "cause"
    ]


@pytest.mark.parametrize(
    "name",
    ["few calls", pytest.param("at rest", marks=pytest.mark.long), pytest.param("many calls", marks=pytest.mark.long)],
)
def test_a_healthy_host_has_no_cause(name, machine, diagnosed):
    callers, pause_s = LOADS[name]
    with ExitStack() as calls:
        for server in machine.servers.values():
            if callers:
                calls.enter_context(load(server, [server.body()], callers, pause_s))
        assert causes(diagnosed()) == []


@pytest.mark.long
@pytest.mark.parametrize("number", range(6))
def test_a_healthy_host_has_no_cause_again_and_again(number, machine, diagnosed):
    server = machine.servers["main"]
    with load(server, [server.body()], 1, 0.02):
        assert causes(diagnosed()) == []


def test_a_diagnosis_changes_no_file_and_no_process(machine, diagnosed):
    before = machine.run(FILES), [machine.pid(name) for name in machine.servers]
    diagnosed()
    assert (machine.run(FILES), [machine.pid(name) for name in machine.servers]) == before
