# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gateways of an inventory, and the times of leaving."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import gate


def of(**hosts):
    refusals = Refusals()
    found = gate.gateways(hosts, refusals)
    refusals.stop()
    return found


def test_the_address_of_a_gateway_is_the_one_it_connects_from():
    hosts = {
        "edge-2": {"gateway_source_address": "10.0.0.8", "tfserving_address": "10.9.0.8", "ansible_host": "192.0.2.8"},
        "edge-1": {"gateway_source_address": "", "tfserving_address": "10.9.0.7", "ansible_host": "192.0.2.7"},
        "edge-3": {"ansible_host": "192.0.2.9"},
        "192.0.2.10": {},
    }
    assert of(**hosts) == [
        {"name": "192.0.2.10", "address": "192.0.2.10"},
        {"name": "edge-1", "address": "10.9.0.7"},
        {"name": "edge-2", "address": "10.0.0.8"},
        {"name": "edge-3", "address": "192.0.2.9"},
    ]


def test_gateways_known_by_name_only_are_refused_all_at_once():
    refusals = Refusals()
    assert gate.gateways({"edge-1": {}, "edge-2": {"ansible_host": "edge-2.example.com"}}, refusals) == []
    why = "which is no IP address, and filters know no names"
    remedy = "set it, for that host, to the address from which it connects to the servers"
    assert [str(each) for each in refusals.errors] == [
        f"gateway_source_address: is the string '{given}' for the gateway {name}, {why}; {remedy}"
        for name, given in (("edge-1", "edge-1"), ("edge-2", "edge-2.example.com"))
    ]


def test_an_instance_has_time_to_leave_for_the_longest_call():
    gate.check(60, 30)
    gate.check(35, 30)
    with pytest.raises(WishError) as refused:
        gate.check(30, 30)
    assert str(refused.value) == (
        "tfserving_drain_timeout_s: is 30, but a call may take 30 s (tfserving_longest_call_s), and leaving 5 s more;"
        " set it to 35 or more"
    )


@pytest.mark.parametrize(
    ("when", "gateways", "wanted"),
    [("auto", [], False), ("auto", ["edge"], True), ("always", [], True), ("never", ["edge"], False)],
)
def test_a_gate_is_there_for_those_who_read_it(when, gateways, wanted):
    assert gate.wanted(when, gateways) is wanted
