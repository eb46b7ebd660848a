# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests flow through both gateways, over REST and gRPC, small and large, while the fleet is changed under them."""

from __future__ import annotations

from callers import SERVING

# Counted over everything that is done in the long test, so that "none" means something.
LEAST = 2000
# Of each gateway: three by hand, and those for changed files.
RELOADS = 6
KILLS = 10
# systemd would give up a unit that starts too often.
AGAIN = "systemctl reset-failed tfserving@main && systemctl restart tfserving@main"


def wishes(**flags):
    return [{"name": "main", "models": ["digits"], "slo_p99_ms": 1000, "flags": flags}]


def test_no_request_is_lost_while_the_fleet_is_changed(site, traffic, gateways, on):
    with traffic.flowing(gateways):
        for name in gateways:
            for _ in range(3):
                on(name).check_output("systemctl reload haproxy")
        changed = site(playbook="playbooks/gateway.yml", gateway_connect_timeout_ms=900)
        assert changed.status == 0, changed.output
        pids = {name: on(name).check_output("systemctl show --value -p MainPID tfserving@main") for name in SERVING}
        # Every instance restarts, one host after the other.
        restarted = site(tfserving_instances=wishes(max_num_load_retries=4))
        assert restarted.status == 0, restarted.output
        for name in SERVING:
            assert on(name).check_output("systemctl show --value -p MainPID tfserving@main") != pids[name]
        released = site(tfserving_version="2.20.0")
        assert released.status == 0, released.output
        back = site(playbook="playbooks/server_rollback.yml")
        assert back.status == 0, back.output
        for command in (
            AGAIN,
            "systemctl stop tfserving@main",
            "systemctl start tfserving@main",
        ):
            on(SERVING[0]).check_output(command)
    assert traffic.lost_but_for(RELOADS) == {}
    assert traffic.answered >= LEAST


def test_the_journal_keeps_every_line_of_haproxy(gateways, on):
    for name in gateways:
        # As systemd has told journald, without a restart of HAProxy.
        limits = "/run/systemd/units/log-rate-limit-%s:haproxy.service"
        assert on(name).check_output(f"readlink {limits % 'burst'} {limits % 'interval'}").split() == ["1000000"] * 2
        # What the worker has at /dev/log, in its chroot.
        worker = "p=$(systemctl show --value -p MainPID haproxy); read -r w _ < /proc/$p/task/$p/children"
        on(name).check_output(f"sh -c '{worker}; test /proc/$w/root/dev/log -ef /dev/log'")


def test_a_drained_host_gets_nothing_until_it_is_let_back(site, gateways, on):
    limit = f"--limit={SERVING[0]}"
    drained = site(limit, playbook="playbooks/drain.yml", reason="replace the fan")
    assert drained.status == 0, drained.output
    status = site(playbook="playbooks/status.yml")
    assert f"{SERVING[0]} main: draining by" in status.output
    assert "replace the fan" in status.output
    # A restart by hand does not open what a person has closed.
    on(SERVING[0]).check_output(AGAIN)
    assert on(SERVING[0]).run("curl --silent --fail http://127.0.0.1:8490/gate/main").rc != 0
    refused = site(f"--limit={SERVING[1]}", playbook="playbooks/drain.yml")
    assert refused.status != 0
    assert "would have 0 servers left without" in refused.message
    undrained = site(limit, playbook="playbooks/undrain.yml")
    assert undrained.status == 0, undrained.output
    assert on(SERVING[0]).run("curl --silent --fail http://127.0.0.1:8490/gate/main").rc == 0


def test_without_the_gate_requests_are_lost(traffic, gateways, on):
    """Otherwise the first test shows nothing."""
    one = dict(list(gateways.items())[:1])
    with traffic.flowing(one, rate=60.0, protocols=("grpc",), large=1.0):
        for kill in range(KILLS):
            host = on(SERVING[kill % 2])
            # Straight to the process, past the order of leaving.
            host.check_output("systemctl kill --signal=SIGTERM tfserving@main")
            host.check_output("systemctl reset-failed tfserving@main && systemctl start tfserving@main")
            host.check_output("timeout 120 sh -c 'until curl -sf http://127.0.0.1:8490/gate/main; do sleep 0.2; done'")
            if traffic.failures():
                break
    assert sum(sum(lost.values()) for lost in traffic.lost.values()) > 0, traffic.sent
