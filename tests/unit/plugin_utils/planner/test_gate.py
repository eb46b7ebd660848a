# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate in a plan: who gets one, and which port it may have."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from planner_cases import CPU_HOST, plan

GATEWAYS = [{"name": "edge-1", "address": "10.0.0.7"}, {"name": "edge-2", "address": "10.0.0.8"}]


def test_hosts_without_gateways_have_no_gate():
    assert plan(CPU_HOST)["gate"] is None


def test_hosts_behind_gateways_have_one_that_names_its_readers():
    assert plan(CPU_HOST, gate={"gateways": GATEWAYS})["gate"] == {
        "port": 8490,
        "drain_timeout_s": 60,
        "longest_call_s": 30,
        "gateways": GATEWAYS,
        "reason": "read by 2 gateways",
    }


def test_other_balancers_are_given_one_on_demand():
    assert plan(CPU_HOST, gate={"when": "always", "port": 8600})["gate"]["port"] == 8600


def test_a_gate_that_is_turned_off_in_front_of_gateways_is_refused():
    with pytest.raises(WishError) as refused:
        plan(CPU_HOST, gate={"when": "never", "gateways": GATEWAYS})
    assert str(refused.value) == (
        "tfserving_gate: is never, but the hosts of tfserving_gateways ask for the gate and send nothing where nobody"
        " answers; leave it out, or take the hosts out of tfserving_gateways"
    )
    assert plan(CPU_HOST, gate={"when": "never"})["gate"] is None


@pytest.mark.parametrize("port", [8500, 8501])
def test_the_port_of_an_instance_is_refused(port):
    with pytest.raises(WishError) as refused:
        plan(CPU_HOST, gate={"when": "always", "port": port})
    assert str(refused.value) == (
        f"tfserving_gate_port: is {port}, a port of the instance main; give the gate a port of its own"
    )


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ({"when": "sometimes"}, "tfserving_gate: is the string 'sometimes'; choose one of auto, always, never"),
        ({"port": 0}, "tfserving_gate_port: is the number 0; give a port from 1 to 65535"),
        ({"gateways": "edge-1"}, "tfserving_gateways: is the string 'edge-1'; give a list of {name, address}"),
        ({"gateways": [{"name": 1}]}, "tfserving_gateways[0].name: is a number; give a text on one line"),
    ],
)
def test_what_is_no_gate_is_refused(gate, sentence):
    with pytest.raises(WishError) as refused:
        plan(CPU_HOST, gate=gate)
    assert str(refused.value) == sentence
