# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults are injected one at a time, and diagnose.yml names each at the rank that is written down."""

from __future__ import annotations

import json
from pathlib import Path

import injections
import pytest
import yaml

TABLE = yaml.safe_load((Path(__file__).parents[3] / "tests/unit/support/fault_injections.yml").read_text())

# The table has the least verdict: on a machine that others keep busy, what contributes may be the cause.
WEIGHT = {"cause": 3, "contributor": 2, "suspect": 1}
# Of `make test`: one without a restart, one of a server's flags, one of its batches, and one that hangs.
SAMPLE = ("host.files", "model.stuck", "rest.threads", "batching.timeout_long")
NAMED = [
    pytest.param(fault, marks=() if fault in SAMPLE else pytest.mark.long, id=fault)
    for fault in sorted(injections.INJECTIONS)
]


@pytest.mark.parametrize("fault", NAMED)
def test_the_fault_is_found_where_it_was_injected(fault, machine, diagnosed, shown):
    with injections.INJECTIONS[fault](machine) as variables:
        found = diagnosed(**(variables or {}))
    order = [each["id"] for each in found["findings"]]
    place = order.index(fault) + 1 if fault in order else None
    verdict = found["findings"][place - 1]["verdict"] if place else "not found"
    shown(f"{fault}: rank {place} of {len(order)}, {verdict}; wanted {TABLE[fault]['rank']}")
    told = [(each["id"], each["verdict"], each["instance"], each["evidence"]) for each in found["findings"]]
    aside = [each for each in (*found["cleared"], *found["not_checked"]) if fault in json.dumps(each)]
    assert fault in order[: TABLE[fault]["rank"]], (told, aside)
    assert WEIGHT[verdict] >= WEIGHT[TABLE[fault].get("verdict", "cause")], told
