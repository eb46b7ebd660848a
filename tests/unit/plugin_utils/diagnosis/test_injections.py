# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How many faults are proven by injection, live and in evidence, and which ranks they reach together."""

from __future__ import annotations

import re
from typing import Any

import fault_cases
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.rank import ranked
from evidence_cases import healthy, peers, put
from repository import REPOSITORY
from resource_faults import TABLE

IDS = {fault.id for fault in faults()}


def named(path: str, pattern: str) -> set[str]:
    """Return the faults that a file names in a place."""
    return set(re.findall(pattern, (REPOSITORY / path).read_text(encoding="utf-8"))) & IDS


IN_A_HOST = named("molecule/shared/injections.py", r'@injection\("([a-z_.]+)"\)')
IN_A_SERVER = named("lab/reference_server/tests/test_faults.py", r'"([a-z_]+\.[a-z_]+)"')


def places() -> dict[str, int]:
    """Return the place of each fault among the findings of evidence that has it."""
    cases = {each.id: _among_peers(each) for each in TABLE if each.verdict == "cause"}
    cases |= {each.id: _among_peers(each) for each in TABLE if each.id not in cases}
    cases |= {fault: fault_cases.case(fault) for fault in fault_cases.INJECTED}
    order = {fault: [each.fault.id for each in ranked([case]).findings] for fault, case in cases.items()}
    return {fault: found.index(fault) + 1 if fault in found else 99 for fault, found in order.items()}


def _among_peers(injected) -> Case:
    others = [put(each, "host", f"p{number}") for number, each in enumerate(peers(injected.peers))]
    return Case(injected.evidence(), others)


def test_every_fault_of_the_catalogue_is_injected_into_evidence():
    assert {each.id for each in TABLE} | set(fault_cases.INJECTED) == IDS
    assert len(IDS) == 73


def test_faults_are_injected_live_too():
    assert (len(IN_A_HOST), len(IN_A_SERVER), len(IN_A_HOST | IN_A_SERVER)) == (28, 12, 32)


def test_each_live_injection_has_its_rank_written_down():
    table = yaml.safe_load((REPOSITORY / "tests/unit/support/fault_injections.yml").read_text(encoding="utf-8"))
    assert set(table) >= IN_A_HOST | IN_A_SERVER
    assert {each["rank"] for each in table.values()} <= {1, 2, 3}


def test_the_true_cause_is_first_nearly_always_and_among_the_first_three_always():
    found = places()
    assert len(found) == len(IDS)
    assert [fault for fault, place in found.items() if place > 3] == []
    assert sum(place == 1 for place in found.values()) >= 0.92 * len(found), found


# Faults that a host can have at once and that do not bring each other about.
PAIRS = [
    ("cpu.throttled", "gpu.thermal"),
    ("cpu.clocksource", "net.loss"),
    ("memory.remote", "gpu.pcie"),
    ("disk.full", "cpu.interrupts"),
    ("gpu.lost", "net.dns"),
    ("cpu.governor", "memory.thp"),
    ("net.conntrack", "memory.growth"),
    ("host.files", "gpu.power_brake"),
    ("gpu.foreign", "cpu.neighbour"),
    ("net.listen_overflow", "cpu.thermal"),
    ("cpu.throttled", "models.base_path"),
    ("gpu.thermal", "flags.unknown"),
    ("net.loss", "model.json"),
    ("disk.full", "model.stuck"),
    ("host.files", "batching.queue_full"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_both_faults_of_a_pair_are_among_the_first_three(pair):
    evidence = {each.id: each.evidence for each in TABLE if each.verdict == "cause"}
    evidence |= {fault: make for fault, (make, _instance) in fault_cases.INJECTED.items()}
    first, second = (evidence[fault]() for fault in pair)
    found = ranked([Case(merged(healthy(), first, second))])
    assert set(pair) <= {each.fault.id for each in found.findings[:3]}


def merged(base: Any, first: Any, second: Any) -> Any:
    """Return the first evidence with all that sets the second one apart from the base."""
    if isinstance(base, dict) and isinstance(first, dict) and isinstance(second, dict):
        names = [*first, *(name for name in second if name not in first)]
        return {name: merged(base.get(name), first.get(name), second.get(name)) for name in names}
    if isinstance(first, list) and isinstance(second, list) and len(base or ()) == len(first) == len(second):
        return [merged(*each) for each in zip(base, first, second, strict=True)]
    return first if second == base else second


@pytest.mark.parametrize("layer", ["resources", "model", "configuration"])
def test_every_layer_has_faults_that_are_injected_live(layer):
    assert {fault.id for fault in faults() if fault.layer == layer} & (IN_A_HOST | IN_A_SERVER)
