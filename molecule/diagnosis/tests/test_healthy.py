# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host without a fault gets none: at rest, with few calls and with many. And a diagnosis changes nothing on it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
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
@pytest.mark.parametrize("number", range(16))
def test_a_healthy_host_has_no_cause_again_and_again(number, machine, diagnosed):
    server = machine.servers["main"]
    with load(server, [server.body()], 1, 0.02):
        assert causes(diagnosed()) == []


@pytest.mark.long
def test_a_roll_out_is_no_cause(machine, diagnosed, site, next_digits):
    server = machine.servers["main"]
    # A single host takes all of its calls at once.
    coming = next_digits(2, {"steps": [100], "interval": "10s", "min_samples": 50, "min_healthy_time": "5s"})
    found = []
    # When the host has the new version beside the one before.
    moment = {"TASK [Record the readiness of the hosts": lambda: found.append(causes(diagnosed()))}
    wishes = yaml.safe_load((Path(__file__).parents[1] / "group_vars/all/wishes.yml").read_text())["tfserving_models"]
    others = [each for each in wishes if each["name"] != "digits"]
    try:
        with load(server, [server.body()], 1, 0.02):
            rolled = site(
                playbook="playbooks/rollout.yml", model="digits", at=moment, tfserving_models=[coming, *others]
            )
        assert rolled.status == 0, rolled.output
    finally:
        back = site()
    assert back.status == 0, back.output
    assert found == [[]]


def test_a_diagnosis_changes_no_file_and_no_process(machine, diagnosed):
    before = machine.run(FILES), [machine.pid(name) for name in machine.servers]
    diagnosed()
    assert (machine.run(FILES), [machine.pid(name) for name in machine.servers]) == before
