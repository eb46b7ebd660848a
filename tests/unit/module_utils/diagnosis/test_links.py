# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which interface of a host carries calls: by its callers' addresses, or by its default route."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import links
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from recorded_host import write

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
# The default route by mgmt, and 10.0.0.0/8 by bond0.
ROUTES = (
    f"{HEAD}mgmt\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    "bond0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
)
# 8500 (2134) has a caller from 10.0.0.9, one from this host; 22 has one from elsewhere.
CALLED = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0500000A:2134 {peer}:D431 01 00000000:00000000 00:00000000 00000000   990        0 778 1 0 100 0 0 10 0
   1: 0100007F:2134 0100007F:D432 01 00000000:00000000 00:00000000 00000000   990        0 779 1 0 100 0 0 10 0
   2: 0500000A:0016 0101A8C0:D433 01 00000000:00000000 00:00000000 00000000     0        0 780 1 0 100 0 0 10 0
"""


@pytest.fixture
def host(tmp_path):
    for name, speed in (("mgmt", 1000), ("eth0", 25_000), ("eth1", 25_000)):
        write(tmp_path, f"sys/class/net/{name}/speed", f"{speed}\n")
        write(tmp_path, f"sys/class/net/{name}/operstate", "up\n")
        write(tmp_path, f"sys/class/net/{name}/device/vendor", "0x15b3\n")
        write(tmp_path, f"sys/class/net/{name}/device/device", "0x1017\n")
    write(tmp_path, "sys/class/net/bond0/lower_eth0/speed", "")
    write(tmp_path, "sys/class/net/bond0/lower_eth1/speed", "")
    write(tmp_path, "proc/net/route", ROUTES)
    return tmp_path


def carriers(root, ports=(8500,)):
    return {name for name, each in links.read(Tree(str(root)), ports).items() if each["carries"]}


@pytest.mark.parametrize("peer", ["0900000A", "0000000000000000FFFF00000900000A"], ids=["IPv4", "IPv4 in IPv6"])
def test_the_cards_below_the_way_to_callers_carry_calls(host, peer):
    write(host, "proc/net/tcp6" if len(peer) > 8 else "proc/net/tcp", CALLED.replace("{peer}", peer))
    assert carriers(host) == {"eth0", "eth1"}


def test_without_callers_it_is_the_default_route(host):
    write(host, "proc/net/tcp", CALLED.replace("{peer}", "0100007F"))
    assert carriers(host) == {"mgmt"}


def test_of_ipv6_alone_it_is_that_default_route(host):
    write(host, "proc/net/route", HEAD)
    zero, tail = "0" * 32, "00000400 00000001 00000000 00000003"
    write(
        host, "proc/net/ipv6_route", f"{zero} 00 {zero} 00 {zero} {tail} lo\n{zero} 00 {zero} 00 {zero} {tail} bond0\n"
    )
    assert carriers(host) == {"eth0", "eth1"}


def test_where_routes_are_not_told_nothing_is_known_to_carry_calls(host):
    (host / "proc/net/route").unlink()
    found = links.read(Tree(str(host)), (8500,))
    assert {each["carries"] for each in found.values()} == {False}
    assert found["eth0"]["device"] == "0x15b3:0x1017"
    assert found["eth0"]["speed_mbit"] == 25_000
