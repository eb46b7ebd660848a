# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which gateway has which address first, and what cannot be one."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import vrrp

GATEWAYS = {"edge-1": "10.0.0.1", "edge-2": "10.0.0.2"}
VIPS = [{"address": "10.0.0.8/24", "interface": "eth0"}, {"address": "10.0.0.9/24", "interface": "eth0"}]


def refusal(*vips, gateways=None) -> str:
    with pytest.raises(WishError) as caught:
        vrrp.instances(vips, "edge-1", gateways or GATEWAYS)
    return str(caught.value)


def test_two_gateways_have_one_address_each_first_and_stand_in_for_the_other():
    first, second = (vrrp.instances(VIPS, name, GATEWAYS) for name in GATEWAYS)
    assert [(each["router_id"], each["priority"]) for each in first] == [(51, 150), (52, 99)]
    assert [(each["router_id"], each["priority"]) for each in second] == [(51, 99), (52, 150)]
    assert (first[0]["source"], first[0]["peers"]) == ("10.0.0.1", ["10.0.0.2"])
    assert (first[0]["address"], first[0]["interface"]) == ("10.0.0.8/24", "eth0")


def test_an_owner_and_a_number_may_be_given():
    (only,) = vrrp.instances([{**VIPS[0], "owner": "edge-2", "router_id": 7}], "edge-1", GATEWAYS)
    assert (only["priority"], only["router_id"]) == (99, 7)


def test_without_addresses_gateways_may_be_names():
    assert vrrp.instances([], "edge-1", {"edge-1": "edge-1.example"}) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"owner": "edge-3"},
            "gateway_vips[0].owner: is the string 'edge-3'; name a gateway: edge-1, edge-2",
        ),
        ({"router_id": 256}, "gateway_vips[0].router_id: is the number 256; give a number from 1 to 255"),
        (
            {"interface": "eth0 {"},
            "gateway_vips[0].interface: is a string; name a network interface, such as eth0",
        ),
        (
            {"address": "10.0.0.9"},
            "gateway_vips[0].address: is the string '10.0.0.9'; "
            "give an address and its network's size, such as 10.0.0.9/24",
        ),
        (
            {"address": "10.0.0.900/24"},
            "gateway_vips[0].address: is the string '10.0.0.900/24'; "
            "give an address and its network's size, such as 10.0.0.9/24",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(change, sentence):
    assert refusal({**VIPS[0], **change}) == sentence


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"router_id": "many"}, "router_id"),
        ({"router_id": [51]}, "router_id"),
        ({"interface": 7}, "interface"),
        ({"owner": ["edge-1"]}, "owner"),
        ({"address": None}, "address"),
    ],
)
def test_a_wrong_kind_is_refused_with_its_place(change, key):
    assert refusal({**VIPS[0], **change}).startswith(f"gateway_vips[0].{key}: is ")


@pytest.mark.parametrize("vips", ["10.0.0.9/24", ["10.0.0.9/24"], {"address": "10.0.0.9/24"}])
def test_what_is_no_list_of_mappings_is_refused(vips):
    with pytest.raises(WishError, match=r"^gateway_vips: is no list of mappings; give each address as"):
        vrrp.instances(vips, "edge-1", GATEWAYS)


def test_a_number_may_be_written_as_text():
    assert vrrp.instances([{**VIPS[0], "router_id": "7"}], "edge-1", GATEWAYS)[0]["router_id"] == 7


def test_an_address_of_the_other_protocol_is_refused():
    assert refusal({**VIPS[0], "address": "fd00::9/64"}) == (
        "gateway_vips[0].address: is fd00::9/64, and this gateway is known as 10.0.0.1; "
        "give an address of IPv4, which keepalived cannot mix"
    )


def test_two_entries_have_nothing_in_common():
    assert refusal(VIPS[0], VIPS[0]) == (
        "gateway_vips[1].address: is 10.0.0.8/24 like that of another entry; give it its own"
    )
    same = [{**each, "router_id": 9} for each in VIPS]
    assert refusal(*same) == "gateway_vips[1].router_id: is 9 like that of another entry; give it its own"


def test_gateways_known_by_name_cannot_reach_each_other():
    assert refusal(VIPS[0], gateways={"edge-1": "edge-1.example"}) == (
        "gateway_vips: needs the IP address of edge-1, which is given as the string 'edge-1.example'; "
        "set tfserving_address there, since VRRP takes no names"
    )
