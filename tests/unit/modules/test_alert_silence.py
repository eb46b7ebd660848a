# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module with a stand-in for amtool; molecule/monitoring has the real one of both releases."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest
from amtool_double import Amtool
from ansible_collections.tfserving.fleet.plugins.modules import alert_silence as module
from running import run_module

SKEW = {"alertname": ["Skew"], "model": ["ranker"]}
GATES = {"alertname": ["GateClosed", "Reloads"], "host": ["gpu-a01", "gpu-a.02"]}


def ending(minutes: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def silence(name: str, minutes: float, author: str = "tfserving.fleet", **matchers: str) -> dict:
    made = [{"isEqual": True, "isRegex": True, "name": label, "value": value} for label, value in matchers.items()]
    state = {"status": {"state": "active"}, "createdBy": author, "endsAt": ending(minutes)}
    return {"id": f"{name}-{minutes:g}", "comment": f"{name}: as planned", "matchers": made, **state}


@pytest.fixture
def host(tmp_path, monkeypatch):
    def with_silences(*silences: dict) -> Amtool:
        amtool = Amtool(tmp_path / "bin", *silences)
        monkeypatch.setenv("PATH", f"{amtool.folder}:{os.environ['PATH']}")
        return amtool

    return with_silences


def run(state="present", **given):
    return run_module(module, name="roll-out of ranker", state=state, **given)


def test_each_scope_gets_a_silence_of_just_its_alerts(host):
    amtool = host()
    done = run(scopes=[SKEW, GATES], comment="7 to 8", minutes=30)
    assert (done["changed"], done["added"], done["problem"]) == (True, ["id-1", "id-2"], "")
    first, second = amtool.silences()
    assert {each["name"]: each["value"] for each in first["matchers"]} == {"alertname": "Skew", "model": "ranker"}
    assert {each["name"]: each["value"] for each in second["matchers"]} == {
        "alertname": "GateClosed|Reloads",
        "host": "gpu-a01|gpu-a[.]02",
    }
    assert first["comment"] == "roll-out of ranker: 7 to 8"
    assert ending(29) < first["endsAt"] <= ending(30.1)


def test_a_second_run_finds_its_silences_and_changes_nothing(host):
    amtool = host()
    run(scopes=[SKEW, GATES])
    before = amtool.silences()
    assert not run(scopes=[GATES, SKEW])["changed"]
    assert amtool.silences() == before


def test_a_later_run_lengthens_what_is_about_to_end(host):
    amtool = host(silence("roll-out of ranker", 20, alertname="Skew", model="ranker"))
    assert not run(scopes=[SKEW], minutes=39)["changed"]
    done = run(scopes=[SKEW], minutes=60)
    assert (done["added"], done["lengthened"]) == ([], ["roll-out of ranker-20"])
    (one,) = amtool.silences()
    assert ending(59) < one["endsAt"] <= ending(60.1)


def test_a_scope_that_is_gone_is_no_longer_silenced(host):
    host(silence("roll-out of ranker", 50, alertname="Skew", model="other"))
    done = run(scopes=[SKEW])
    assert (len(done["added"]), done["expired"]) == (1, ["roll-out of ranker-50"])


def test_the_end_of_the_work_ends_its_silences_and_no_others(host):
    of_people = silence("roll-out of ranker", 40, "anna", alertname="Skew", model="ranker")
    of_others = silence("roll-out of ranker2", 30, alertname="Skew", model="ranker2")
    amtool = host(of_people, of_others, silence("roll-out of ranker", 50, alertname="Skew", model="ranker"))
    assert run("absent")["expired"] == ["roll-out of ranker-50"]
    assert [each["status"]["state"] for each in amtool.silences()] == ["active", "active", "expired"]
    assert not run("absent")["changed"]


def test_the_end_of_the_work_ends_its_parts(host):
    host(
        silence("roll-out of ranker main", 40, alertname="Skew", host="a"),
        silence("roll-out of rankers", 30, alertname="Skew", host="a"),
    )
    assert run("absent")["expired"] == ["roll-out of ranker main-40"]


def test_check_mode_says_what_it_would_do_and_does_nothing(host):
    amtool = host(silence("roll-out of ranker", 50, alertname="Skew", model="other"))
    before = amtool.silences()
    done = run(scopes=[SKEW], _ansible_check_mode=True)
    assert (done["changed"], done["added"], done["expired"]) == (True, [""], ["roll-out of ranker-50"])
    assert run("absent", _ansible_check_mode=True)["changed"]
    assert amtool.silences() == before


def test_address_and_accounts_reach_amtool(host):
    amtool = host()
    run("absent", url="https://10.0.0.1:9093/", http_config="/etc/prometheus/amtool.yml")
    (call,) = amtool.calls()
    assert "--alertmanager.url=https://10.0.0.1:9093/" in call
    assert "--http.config.file=/etc/prometheus/amtool.yml" in call


def test_without_an_address_amtool_is_left_to_its_configuration(host):
    amtool = host()
    run("absent")
    (call,) = amtool.calls()
    assert not [each for each in call if each.startswith(("--alertmanager.url", "--http.config.file"))]


def test_an_alertmanager_elsewhere_is_not_shown_the_account_of_this_one(host):
    amtool = host()
    run("absent", url="https://10.0.0.1:9093/")
    (call,) = amtool.calls()
    assert "--http.config.file=/dev/null" in call


@pytest.mark.parametrize(
    ("status", "out", "err", "words"),
    [
        (1, "", "amtool: error: Get http://x: connection refused\n", "query failed: Get http://x: connection refused"),
        (1, "", "", "amtool silence query failed: exit status 1"),
        (124, "", "", "amtool silence query has not ended after 15 s"),
        (0, "no JSON", "", "amtool does not list silences as known"),
        (0, '[{"comment": 1}]', "", "amtool does not list silences as known"),
        (0, '{"comment": "x"}', "", "amtool does not list silences as known"),
        (1, "", "\x1b[31mred\u202e", "amtool silence query failed: \\x1b[31mred\\u202e"),
    ],
)
def test_an_alertmanager_that_cannot_be_asked_is_told_and_stops_nobody(host, monkeypatch, status, out, err, words):
    warnings = []
    # Ansible collects the warnings of a process, and here many modules run in one.
    monkeypatch.setattr(module.AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    host().answers(status, out, err)
    done = run(scopes=[SKEW])
    assert not done["changed"]
    assert words in done["problem"]
    assert [each for each in warnings if f"alerts are not silenced as planned: {done['problem']}" in each]


def test_a_host_without_amtool_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(scopes=[SKEW])
    assert done["problem"].startswith("amtool silence query failed: ")


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"model": ["ranker"]}, "scopes[0]: would silence too much; name alerts in alertname, and one of model"),
        ({"alertname": ["Skew"]}, "scopes[0]: would silence too much"),
        ({"alertname": [], "host": ["a"]}, "scopes[0]: would silence too much"),
        ({**SKEW, "severity": ["page"]}, "scopes[0].severity: is no label to silence by; use alertname, model"),
        ({**SKEW, "host": [".*"]}, "scopes[0].host: .* is no name; use letters, digits and . _ : -"),
        ({**SKEW, "host": ['a"b']}, 'scopes[0].host: a"b is no name'),
        ({**SKEW, "host": "gpu-a01"}, "scopes[0].host: is no list; give a list of names"),
    ],
)
def test_a_silence_that_could_hide_more_is_refused(host, scope, words):
    host()
    failed = run(scopes=[scope])
    assert failed["failed"]
    assert words in failed["msg"]


@pytest.mark.parametrize("minutes", [0, -5, 10_081])
def test_a_silence_without_an_end_in_sight_is_refused(host, minutes):
    host()
    assert f"minutes: {minutes} is not between 1 and 10080" in run(scopes=[SKEW], minutes=minutes)["msg"]


def test_a_name_that_is_none_is_refused(host):
    host()
    assert "name: a\\nb is no name" in run_module(module, name="a\nb", scopes=[SKEW])["msg"]
