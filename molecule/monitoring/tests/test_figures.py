# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the monitoring hosts know of the fleet, against what is known by hand."""

from __future__ import annotations

import json
import re

import pytest
from callers import await_that
from watched import EDGE, HOST, WATCHERS

PROM = "/var/lib/prometheus/node-exporter/tfserving.prom"
JOBS = {
    "tfserving": {f"{HOST}.main", f"{HOST}.second"},
    "node": {HOST, EDGE, *WATCHERS},
    "haproxy": {EDGE},
    "prometheus": set(WATCHERS),
    "alertmanager": set(WATCHERS),
}


def collected(on, name: str) -> dict[str, float]:
    """Return the collector's samples of a metric, by their labels as written."""
    lines = on(HOST).check_output("cat %s", PROM).splitlines()
    found = (re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line) for line in lines)
    return {match[1] or "": float(match[2]) for match in found if match}


def test_every_target_is_up_on_both_monitoring_hosts(each_watcher):
    await_that(lambda: {each["health"] for each in each_watcher.targets()} == {"up"}, "all targets are up")
    found: dict[str, set[str]] = {}
    for each in each_watcher.targets():
        found.setdefault(each["labels"]["job"], set()).add(each["labels"]["instance"])
    assert found == JOBS


def test_the_targets_have_the_labels_that_rules_join_on(watcher):
    labels = {each["labels"]["instance"]: each["labels"] for each in watcher.targets()}
    main = labels[f"{HOST}.main"]
    assert (main["host"], main["serving_instance"]) == (HOST, "main")
    nodes = (each["labels"] for each in watcher.targets() if each["labels"]["job"] == "node")
    roles = {each["host"]: each["role"] for each in nodes}
    assert roles == {HOST: "serving", EDGE: "gateway", **dict.fromkeys(WATCHERS, "monitoring")}


def rules(watcher) -> list[dict]:
    return [rule for group in watcher.ask("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]


def test_both_files_of_rules_are_in_force_and_none_of_them_fails(each_watcher):
    groups = each_watcher.ask("/api/v1/rules")["data"]["groups"]
    assert {each["file"].rpartition("/")[2] for each in groups} == {"tfserving-recording.yml", "tfserving-alerts.yml"}
    await_that(lambda: {rule["health"] for rule in rules(each_watcher)} == {"ok"}, "every rule is evaluated")


def test_the_rules_count_the_calls_and_their_time(each_watcher, traffic, gateways):
    with traffic.flowing(gateways):
        calls = "sum by (host) (tfserving:requests:rate5m) > 0.5"
        await_that(lambda: each_watcher.values(calls, "host").get(HOST), "the calls are counted")
        await_that(lambda: each_watcher.query("tfserving:p99_high_seconds"), "the bracket of the 99th percentile")
        low, high = (
            each_watcher.values(f"tfserving:p99_{end}_seconds", "serving_instance")["main"] for end in ("low", "high")
        )
    # Neighbouring edges of the server's buckets are 1.8 apart.
    assert high == pytest.approx(1.8 * low, rel=0.01)
    assert traffic.lost == {}


def test_the_collector_tells_what_the_host_is(on):
    plan = json.loads(on(HOST).check_output("cat /etc/tfserving/plan.json"))
    cpus = collected(on, "tfserving_instance_cpus")
    for instance in plan["instances"]:
        name = instance["name"]
        pid = on(HOST).check_output("systemctl show --value -p MainPID tfserving@%s", name)
        status = on(HOST).check_output("cat /proc/%s/status", pid)
        allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", status)[1]
        assert cpus[f'serving_instance="{name}"'] == len(expanded(allowed))
        resident = int(re.search(r"VmRSS:\s*(\d+)", status)[1]) * 1024
        known = collected(on, "tfserving_instance_resident_bytes")[f'serving_instance="{name}"']
        assert known == pytest.approx(resident, rel=0.2)
        assert collected(on, "tfserving_instance_allocator_matches_plan")[f'serving_instance="{name}"'] == 1
        assert collected(on, "tfserving_instance_running")[f'serving_instance="{name}"'] == 1
    states = collected(on, "tfserving_model_state")
    available = {key for key, value in states.items() if value == 1}
    assert {re.sub(r'.*model="(\w+)".*version="(\d+)".*state="(\w+)".*', r"\1 \2 \3", key) for key in available} == {
        "digits 1 AVAILABLE",
        "ranker 1 AVAILABLE",
    }


def expanded(cpus: str) -> set[int]:
    ranges = (part.partition("-") for part in cpus.split(","))
    return {cpu for first, _dash, last in ranges for cpu in range(int(first), int(last or first) + 1)}


def test_the_collector_is_fresh_and_its_file_accepted(watcher):
    await_that(lambda: watcher.query("tfserving:collector_age_seconds"), "the age of the collector's file")
    assert max(each["value"] for each in watcher.query("tfserving:collector_age_seconds")) < 180
    assert {each["value"] for each in watcher.query("node_textfile_scrape_error")} == {0}


def test_a_closed_gate_is_seen_with_who_closed_it(on, watcher, site):
    open_gates = {"main": 1, "second": 1}
    await_that(lambda: watcher.values("tfserving_gate_open", "serving_instance") == open_gates, "open gates are seen")
    assert site(playbook="playbooks/drain.yml", instance="second", reason="for a test").status == 0
    try:
        closed = 'tfserving_gate_info{serving_instance="second",kind="person"}'
        await_that(lambda: watcher.query(closed), "the closed gate is seen, with who closed it")
        assert watcher.values("tfserving_gate_open", "serving_instance") == {"main": 1, "second": 0}
    finally:
        assert site(playbook="playbooks/undrain.yml", instance="second").status == 0
    await_that(lambda: not watcher.firing() & {"GatewayBackendDown"}, "the gateway's pages are over")


def test_a_healthy_fleet_fires_no_page(each_watcher):
    # Before the tests there is nobody who takes mails.
    pages = 'ALERTS{alertstate="firing",severity="page",alertname!="NotificationsFail"}'
    assert each_watcher.query(pages) == []
