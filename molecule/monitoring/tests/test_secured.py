# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The monitoring with TLS, an account and other ports, on a gateway as well, and gone again: each on live hosts."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request

import callers
import certificates
import pytest
from callers import await_that
from watched import EDGE, HOST, WATCHERS

ALL = (HOST, EDGE, *WATCHERS)
PASSWORD = "correct-horse-battery-staple"
PORTS = {"monitoring_prometheus_port": 9190, "monitoring_alertmanager_port": 9193, "monitoring_node_port": 9200}
UNITS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
FILES = "find /etc/prometheus /etc/default -type f -name '*' -exec sha256sum {} + | sort"


class Secured:
    """Pages with TLS and an account."""

    def __init__(self, ca: str) -> None:
        self.trusted = ssl.create_default_context(cadata=ca)

    def ask(self, address: str, port: int, path: str, password: str = PASSWORD):
        account = base64.b64encode(f"tfserving:{password}".encode()).decode()
        asked = urllib.request.Request(f"https://{address}:{port}{path}", headers={"Authorization": f"Basic {account}"})
        with urllib.request.urlopen(asked, timeout=30, context=self.trusted) as answer:
            return json.load(answer)

    def down(self, address: str) -> list[str]:
        """Return what a Prometheus cannot read, or has not read yet."""
        found = self.ask(address, PORTS["monitoring_prometheus_port"], "/api/v1/targets?state=active")
        return [
            f"{each['scrapeUrl']} {each['lastError']}"
            for each in found["data"]["activeTargets"]
            if each["health"] != "up"
        ]


@pytest.mark.long
def test_with_tls_an_account_and_other_ports_all_is_read_and_silences_are_set(on, site, watchers):
    certificate, key = (each.decode() for each in certificates.self_signed(*callers.addresses(ALL).values()))
    before = {name: on(name).check_output(FILES) for name in WATCHERS}
    secured = Secured(certificate)
    secrets = {"monitoring_tls_certificate": certificate, "monitoring_tls_key": key, "monitoring_tls_ca": certificate}
    given = {**secrets, **PORTS, "monitoring_password": PASSWORD}
    try:
        done = site("--diff", **given)
        assert done.status == 0, done.output
        assert PASSWORD not in done.output
        assert key.splitlines()[1] not in done.output
        for watcher in watchers:
            await_that(lambda at=watcher.address: not secured.down(at), f"{watcher.name} reads all its targets")
            with pytest.raises(urllib.error.HTTPError, match="401"):
                secured.ask(watcher.address, PORTS["monitoring_prometheus_port"], "/api/v1/targets", "wrong")
        drained = site(playbook="playbooks/drain.yml", instance="second", until="2h", reason="for a test")
        assert "not silenced" not in drained.message, drained.output
        for watcher in watchers:
            found = secured.ask(watcher.address, PORTS["monitoring_alertmanager_port"], "/api/v2/silences")
            assert [each for each in found if each["status"]["state"] == "active"]
        assert site(playbook="playbooks/undrain.yml", instance="second").status == 0
        again = site(**given)
        assert not again.changed, again.output
    finally:
        back = site()
    assert back.status == 0, back.output
    assert {name: on(name).check_output(FILES) for name in WATCHERS} == before


@pytest.mark.long
def test_a_gateway_may_be_a_monitoring_host_too_and_stop_to_be_one(on, site, tmp_path):
    also, not_any_more = tmp_path / "also.ini", tmp_path / "gone.ini"
    also.write_text(f"[tfserving_monitoring]\n{EDGE}\n")
    not_any_more.write_text(f"[tfserving_monitoring]\n{EDGE} monitoring_state=absent\n")
    edge = on(EDGE)
    address = callers.addresses([EDGE])[EDGE]
    try:
        done = site("-i", str(also))
        assert done.status == 0, done.output
        page = edge.check_output("curl --silent http://127.0.0.1:9090/api/v1/targets?state=active")
        assert {each["labels"]["job"] for each in json.loads(page)["data"]["activeTargets"]} >= {"tfserving", "haproxy"}
        # It is a gateway still.
        assert callers.metadata(address, 8080)
    finally:
        gone = site("-i", str(not_any_more))
        back = site()
    assert gone.status == 0, gone.output
    assert back.status == 0, back.output
    assert edge.run("systemctl is-active prometheus").stdout.strip() != "active"
    assert callers.metadata(address, 8080)


@pytest.mark.long
def test_the_last_monitoring_host_goes_and_nothing_is_left_open_for_it(on, site):
    try:
        gone = site(monitoring_state="absent")
        assert gone.status == 0, gone.output
        for name in WATCHERS:
            for unit in UNITS:
                assert on(name).run(f"systemctl is-active {unit}").stdout.strip() != "active"
            assert not on(name).file("/etc/prometheus/amtool.yml").exists
        serving = callers.addresses([HOST])[HOST]
        for port in (8501, 9100):
            tried = on(WATCHERS[0]).run(f"curl --silent --output /dev/null --max-time 3 http://{serving}:{port}/")
            assert tried.rc != 0
        again = site(monitoring_state="absent")
        assert not again.changed, again.output
    finally:
        back = site()
    assert back.status == 0, back.output
    assert all(on(name).run("systemctl is-active prometheus").rc == 0 for name in WATCHERS)
