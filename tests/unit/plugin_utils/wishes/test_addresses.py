# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the servers."""

from __future__ import annotations

import pytest
import unit_cases
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.address_networks import address_networks
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules
from refusing import refusal


def test_words_addresses_and_networks_become_networks_of_their_family():
    assert address_networks(["localhost", "10.1.2.3", "10.20.0.0/16", "2001:db8::/32"]) == {
        "ipv4": ["10.1.2.3/32", "10.20.0.0/16", "127.0.0.0/8"],
        "ipv6": ["::1/128", "2001:db8::/32"],
    }


def test_what_lies_within_another_network_is_left_out():
    assert address_networks(["10.0.0.0/8", "10.20.0.0/16"])["ipv4"] == ["10.0.0.0/8"]
    assert address_networks(["any", "localhost"]) == {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}


def test_nobody_is_an_answer():
    assert address_networks([]) == {"ipv4": [], "ipv6": []}


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        (
            ["localhots"],
            "tfserving_allow_from[0]: 'localhots' is neither an address nor a network; did you mean 'localhost'?",
        ),
        (
            ["localhost", "10.20.0.0/33"],
            "tfserving_allow_from[1]: '10.20.0.0/33' is neither an address nor a network; write it as 10.20.0.0/16, or"
            " use one of any, link-local, localhost, multicast",
        ),
        (
            ["10.20.0.1/16"],
            "tfserving_allow_from[0]: is an address within 10.20.0.0/16, and stands for all of it; write 10.20.0.0/16"
            " for the network, or 10.20.0.1 for the one address",
        ),
        (
            ["2001:db8::1/32"],
            "tfserving_allow_from[0]: is an address within 2001:db8::/32, and stands for all of it; write 2001:db8::/32"
            " for the network, or 2001:db8::1 for the one address",
        ),
        ("localhost", "tfserving_allow_from: is a string; give a list of addresses, networks or words"),
    ],
)
def test_what_systemd_would_drop_without_a_word_is_refused(addresses, sentence):
    assert refusal(address_rules.check, addresses) == sentence
    with pytest.raises(AnsibleFilterError) as refused:
        address_networks(addresses)
    assert str(refused.value) == sentence


def test_whom_the_servers_may_call_is_read_as_strictly():
    assert refusal(address_rules.check, ["any"], [], "systemd", ["10.20.0.1/16"]) == (
        "tfserving_allow_to[0]: is an address within 10.20.0.0/16, and stands for all of it; write 10.20.0.0/16 for the"
        " network, or 10.20.0.1 for the one address"
    )


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:10.0.0.1",
        "::FFFF:a00:1",
        "0:0:0:0:0:ffff:10.0.0.1",
        "0::ffff:10.0.0.0/104",
        "::0:ffff:0:0/96",
        "0000:0000:0000:0000:0000:ffff:0a00:0001",
    ],
)
def test_ipv4_in_the_clothes_of_ipv6_is_refused_however_it_is_spelt(address):
    assert refusal(address_rules.check, [address]) == (
        "tfserving_allow_from[0]: is an IPv4-mapped IPv6 address, which no packet carries; write its IPv4 form"
    )


def test_networks_around_the_mapped_addresses_are_networks():
    assert address_networks(["::/0"])["ipv6"] == ["::/0"]


def test_the_rest_ports_can_have_addresses_of_their_own_with_nftables_alone():
    assert refusal(address_rules.check, ["any"], ["localhost"], "nftables") == ""
    assert refusal(address_rules.check, ["any"], ["localhost"], "systemd") == (
        "tfserving_rest_allow_from: is set and tfserving_address_rules is systemd, which filters by unit and knows no"
        " ports; use nftables"
    )
    assert refusal(address_rules.check, [], ["10.0.0.0/8", "x"]).startswith(
        "tfserving_rest_allow_from[1]: 'x' is neither"
    )


def test_good_addresses_are_no_refusal():
    assert refusal(address_rules.check, ["localhost", "fe80::1"]) == ""


RULES = unit_cases.ROLES / "tfserving/templates/host/etc/tfserving/addresses.nft.j2"


def servers_chain(ports, outgoing) -> list[str]:
    """Return the rules for what the servers send, as the role lays them down."""
    rules = [{"ports": ports, "networks": address_networks(["localhost"])}] if ports else []
    text = unit_cases.rendered(
        RULES, __tfserving_address_rules=rules, __tfserving_ports=ports, tfserving_allow_to=outgoing
    )
    chain = text.partition("chain servers {")[2].partition("}\n}")[0]
    return [line.strip() for line in chain.splitlines() if line.strip()]


def test_servers_answer_and_call_nobody_but_their_host_and_whom_they_may():
    assert servers_chain([8500, 8501], ["198.51.100.1", "2001:db8::/32"]) == [
        'oifname "lo" accept',
        "tcp sport { 8500, 8501 } tcp flags & (syn | ack) != syn accept",
        "ip daddr 198.51.100.1/32 accept",
        "ip6 daddr 2001:db8::/32 accept",
        "counter reject with icmpx admin-prohibited",
    ]


def test_without_instances_the_rules_still_are_rules():
    # nft refuses an empty set of ports.
    assert servers_chain([], []) == ['oifname "lo" accept', "counter reject with icmpx admin-prohibited"]
