# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""diagnose.yml looks at gateways too: one without connections is named, and calls are followed through it."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import pytest
from callers import GATEWAYS, PORTS

# What the gateway may hold meanwhile, and how many of that callers keep open: diagnose.yml needs a few itself.
MOST, KEPT = 30, 29
SET = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
    " s.sendall(b'set maxconn global %d\\n'); print(s.recv(200).decode().strip())"
)


@pytest.fixture
def diagnosed(site, tmp_path):
    """Run diagnose.yml of two gateways and the serving hosts; return its document."""

    def run(name):
        folder = tmp_path / name
        done = site(playbook="playbooks/diagnose.yml", diagnosis_folder=str(folder), diagnosis_seconds=4)
        found = json.loads((folder / "report.diagnosis.json").read_text())
        assert done.status == found["exit"], done.output
        return found

    return run


@pytest.mark.long
def test_a_gateway_without_connections_is_found_and_one_with_some_is_not(diagnosed, gateways, on):
    (first, second), edge = GATEWAYS, on(GATEWAYS[0])
    healthy = diagnosed("healthy")
    assert [each for each in healthy["findings"] if each["verdict"] == "cause"] == []
    through = [each for each in healthy["budgets"] if each["via"] == "gateway"]
    assert through, healthy["budgets"]
    assert all(each["parts_ms"]["gateway"] is not None for each in through)
    usual = edge.check_output("awk '$1 == \"maxconn\" {print $2; exit}' /etc/haproxy/haproxy.cfg")
    edge.check_output("python3 -c %s", SET % MOST)
    try:
        with ExitStack() as callers:
            for _number in range(KEPT):
                callers.enter_context(socket.create_connection((gateways[first], PORTS[1])))
            found = diagnosed("saturated")
    finally:
        edge.check_output("python3 -c %s", SET % int(usual))
    (saturated,) = (each for each in found["findings"] if each["id"] == "gateway.saturated")
    assert (saturated["host"], saturated["verdict"]) == (first, "cause")
    assert second not in saturated["hosts"]
    assert diagnosed("again")["exit"] in (0, 1)
