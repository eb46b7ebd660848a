# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What breaks reaches people as a mail, what is repaired as another, and what is planned not at all."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from callers import await_that
from watched import HOST, WATCHERS

# From the first failed look (Alertmanager's startsAt lies behind the rule's own wait) to the mail.
LONGEST = timedelta(seconds=120)


def alert(watcher, name: str, instance: str) -> dict:
    """Return an alert as Alertmanager has it."""
    found = watcher.ask("/api/v2/alerts", 9093)
    (one,) = [
        each
        for each in found
        if each["labels"]["alertname"] == name and each["labels"].get("serving_instance") == instance
    ]
    return one


def began(watcher, name: str, instance: str) -> datetime:
    return datetime.fromisoformat(alert(watcher, name, instance)["startsAt"].replace("Z", "+00:00"))


def test_an_instance_that_is_gone_is_mailed_and_so_is_its_return(on, watcher, mails):
    on(HOST).check_output("systemctl stop tfserving@main.service")
    await_that(lambda: mails.of("InstanceGone"), "the mail of the page")
    (mail, *again) = mails.of("InstanceGone")
    assert mail.to == ("oncall@lab.test",)
    assert HOST in mail.subject + mail.text
    assert "main" in mail.subject
    assert "docs/alerts.md#InstanceGone" in mail.text
    # Two Alertmanagers send one mail.
    assert again == []
    assert mail.came - began(watcher, "InstanceGone", "main") < LONGEST
    on(HOST).check_output("systemctl start tfserving@main.service")
    await_that(lambda: mails.of("InstanceGone", "resolved"), "the mail of the end")


@pytest.mark.long
def test_a_server_that_hangs_is_told_although_it_gives_no_sample(on, watcher, mails, traffic, gateways):
    on(HOST).check_output("systemctl kill -s STOP tfserving@main.service")
    try:
        await_that(lambda: watcher.firing() & {"InstanceHangs", "InstanceGone"}, "an alert of absence")
        await_that(lambda: mails.of("InstanceHangs") or mails.of("InstanceGone"), "its mail")
    finally:
        on(HOST).check_output("systemctl kill -s CONT tfserving@main.service")
    await_that(lambda: not watcher.firing() & {"InstanceHangs", "InstanceGone"}, "the end of it")


@pytest.mark.long
def test_planned_work_is_silenced_on_the_real_alertmanager_and_heard_again(site, each_watcher):
    def silences(state: str) -> list[dict]:
        found = each_watcher.ask("/api/v2/silences", 9093)
        return [each for each in found if each["status"]["state"] == state and each["comment"].startswith("drain of")]

    before = len(silences("expired"))
    assert site(playbook="playbooks/drain.yml", instance="second", until="2h", reason="for a test").status == 0
    (one,) = silences("active")
    matchers = {each["name"]: each["value"] for each in one["matchers"]}
    assert (matchers["host"], matchers["serving_instance"]) == (HOST, "second")
    again = site(playbook="playbooks/drain.yml", instance="second", until="2h", reason="for a test")
    assert again.status == 0
    assert [each["id"] for each in silences("active")] == [one["id"]]
    assert site(playbook="playbooks/undrain.yml", instance="second").status == 0
    assert silences("active") == []
    assert len(silences("expired")) >= before


@pytest.mark.long
def test_a_roll_out_is_silenced_while_it_lasts(site, watchers, traffic, gateways, next_digits):
    def silences() -> list[set[str]]:
        every = [watcher.ask("/api/v2/silences", 9093) for watcher in watchers]
        return [{each["comment"] for each in found if each["status"]["state"] == "active"} for found in every]

    # A single host takes all of its calls at once.
    model = next_digits(2, {"steps": [100], "interval": "10s", "min_samples": 50, "min_healthy_time": "5s"})
    wishes = {"tfserving_models": [model], "tfserving_instances": [{"name": "main", "models": ["digits"]}]}
    seen: list[list[set[str]]] = []
    # When the host has the new version beside the one before.
    moments = {"TASK [Record the readiness of the hosts": lambda: seen.append(silences())}
    try:
        with traffic.flowing(gateways, rate=20.0):
            rolled = site(playbook="playbooks/rollout.yml", model="digits", at=moments, **wishes)
        assert rolled.status == 0, rolled.output
        assert seen, rolled.output
        assert all(any("digits" in comment for comment in each) for each in seen[0]), seen
        assert all(not any("digits" in comment for comment in each) for each in silences())
    finally:
        back = site()
    assert back.status == 0, back.output


@pytest.mark.long
def test_an_alertmanager_that_is_down_stops_no_drain(on, site):
    for name in WATCHERS:
        on(name).check_output("systemctl stop prometheus-alertmanager")
    try:
        done = site(playbook="playbooks/drain.yml", instance="second", until="1h")
        assert done.status == 0, done.output
        assert "alerts are not silenced as planned: amtool silence query failed" in done.message
        assert site(playbook="playbooks/undrain.yml", instance="second").status == 0
    finally:
        for name in WATCHERS:
            on(name).check_output("systemctl start prometheus-alertmanager")


@pytest.mark.parametrize("name", WATCHERS)
def test_amtool_needs_no_options_on_a_monitoring_host(on, name):
    assert on(name).file("/etc/prometheus/amtool.yml").mode == 0o644
    assert json.loads(on(name).check_output("amtool silence query --output=json")) is not None


def test_the_alerts_carry_what_their_mails_are_sorted_by(watcher):
    rules = [rule for group in watcher.ask("/api/v1/rules?type=alert")["data"]["groups"] for rule in group["rules"]]
    assert {rule["labels"]["severity"] for rule in rules} == {"page", "ticket"}
    assert all("runbook_url" in json.dumps(rule["annotations"]) for rule in rules)
