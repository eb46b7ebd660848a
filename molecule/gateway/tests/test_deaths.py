# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server that is killed under requests: what that costs its callers, and that nobody has to do anything."""

from __future__ import annotations

import pytest
from callers import GATEWAYS, SERVING, await_that, knows_all

# Of each protocol through each gateway; half of all requests go to either server.
RATE = 15.0
TO_ONE = RATE * 2 * len(GATEWAYS) / len(SERVING)
# A gateway takes a server out after two failed checks, one a second: `inter 1s fall 2` in haproxy.cfg.
NOTICED_S = 2


@pytest.mark.long
def test_a_killed_server_takes_no_more_along_than_what_was_sent_to_it(site, traffic, gateways, on, shown):
    host = on(SERVING[0])
    pid = host.check_output("systemctl show --value -p MainPID tfserving@main")

    def serves_again() -> bool:
        return (
            host.check_output("systemctl show --value -p MainPID tfserving@main") not in (pid, "0")
            and host.run("curl --silent --fail http://127.0.0.1:8490/gate/main").rc == 0
            and all(knows_all(on(name)) for name in GATEWAYS)
        )

    with traffic.flowing(gateways, rate=RATE):
        most = traffic.open() + TO_ONE * NOTICED_S
        host.check_output("kill -9 %s", pid)
        await_that(serves_again, f"{SERVING[0]} serves again")
    lost = sum(count for kinds in traffic.lost.values() for count in kinds.values())
    shown(f"a server was killed: {lost} of {traffic.answered + lost} requests lost, at most {most:.0f}: {traffic.lost}")
    assert lost <= most, traffic.sent
    again = site(f"--limit={SERVING[0]}")
    assert again.status == 0, again.output
    assert not again.changed, again.output
