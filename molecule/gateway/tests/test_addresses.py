# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The address that moves between the gateways, and requests through it."""

from __future__ import annotations

import pytest
from callers import GATEWAYS, PORTS, await_that, knows_all, metadata


@pytest.fixture
def address(on):
    """The address that moves, without its network's size."""
    line = "grep --after-context=1 virtual_ipaddress /etc/keepalived/keepalived.conf"
    return on(GATEWAYS[0]).check_output(line).split()[-1].partition("/")[0]


def holders(on, address: str) -> list[str]:
    return [
        name for name in GATEWAYS if f" {address}/" in on(name).check_output("ip -4 -oneline address show dev eth0")
    ]


def moves_to(on, address: str, gateway: str) -> None:
    """Wait until a gateway alone has the address."""
    await_that(lambda: holders(on, address) == [gateway], f"{gateway} has {address}")


def test_the_address_leaves_a_gateway_without_haproxy_and_requests_follow_it(on, traffic, address, shown):
    first, second = GATEWAYS
    moves_to(on, address, first)
    with traffic.flowing({"address": address}):
        on(first).check_output("systemctl stop haproxy")
        moves_to(on, address, second)
        metadata(address, PORTS[0])
        on(first).check_output("systemctl start haproxy")
        # keepalived on the first one has seen HAProxy too, and waits for its turn.
        last = "journalctl --unit keepalived --lines 1 --output cat"
        await_that(lambda: "Entering BACKUP STATE" in on(first).check_output(last), f"{first} may have {address} again")
        await_that(lambda: knows_all(on(first)), f"{first} knows the servers again")
        # Who has the address keeps it.
        assert holders(on, address) == [second]
        # The gateway itself goes, as at a boot.
        on(second).check_output("systemctl stop keepalived")
        moves_to(on, address, first)
        metadata(address, PORTS[0])
        on(second).check_output("systemctl start keepalived")
        await_that(lambda: on(second).run("pgrep keepalived").rc == 0, "keepalived runs again")
        assert holders(on, address) == [first]
    shown(f"two moves of the address: {traffic.lost} lost, {traffic.answered} answered")
    assert traffic.answered > 0
