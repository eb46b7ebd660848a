# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The rule files as texts: the same for the same fleet, with all that people and pages need of an alert."""

from __future__ import annotations

import re
from dataclasses import replace

import alert_cases
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import rules, table
from repository import REPOSITORY

RANKER, EDGE = alert_cases.OBJECTIVES
MADE = rules.files((RANKER, EDGE))
RECORDED = [rule for group in yaml.safe_load(MADE[rules.RECORDING])["groups"] for rule in group["rules"]]
ALERTS = [rule for group in yaml.safe_load(MADE[rules.ALERTING])["groups"] for rule in group["rules"]]


def constants(name: str) -> list[tuple[dict[str, str], str]]:
    return [(rule["labels"], rule["expr"]) for rule in RECORDED if rule["record"] == name]


def test_there_is_a_file_of_recording_rules_and_one_of_alerts():
    assert list(MADE) == ["tfserving-recording.yml", "tfserving-alerts.yml"]
    assert all(text.startswith("# Made by tfserving.fleet from its table of signals") for text in MADE.values())


def test_the_order_of_objectives_changes_nothing():
    assert rules.files((EDGE, RANKER)) == MADE


def test_objectives_are_recorded_as_constants_of_their_instance():
    here = {"serving_instance": "ranker"}
    assert constants("tfserving:objective:p99_seconds")[1] == (here, "vector(0.1)")
    assert constants("tfserving:objective:availability")[1] == (here, "vector(0.999)")
    assert constants("tfserving:objective:model")[1] == ({**here, "model_name": "dense"}, "vector(1)")
    assert constants("tfserving:objective:max_batch_size") == [(here, "vector(64)")]
    assert constants("tfserving:objective:batch_timeout_seconds") == [(here, "vector(0.002)")]
    assert constants("tfserving:objective:batch_threads") == [(here, "vector(4)")]
    assert [labels for labels, _ in constants("tfserving:objective:edge")] == [
        {"serving_instance": "edge", "side": "below", "le": "121440"},
        {"serving_instance": "edge", "side": "above", "le": "121440"},
        {**here, "side": "below", "le": "67466.4"},
        {**here, "side": "above", "le": "121440"},
    ]


def test_every_signal_is_recorded_once_and_in_the_order_of_the_table():
    named = [rule["record"] for rule in RECORDED if not rule["record"].startswith("tfserving:objective:")]
    assert named == [signal.name for signal in table.SIGNALS]
    assert {rule["record"] for rule in RECORDED} == set(table.SIGNAL_BY_NAME)


def test_an_objective_that_no_histogram_can_show_is_refused():
    with pytest.raises(WishError, match=r"slo_p99_ms: is 0\.001, below the 0\.01 ms"):
        rules.files((replace(RANKER, p99_ms=0.001),))


def test_a_fleet_without_objectives_gets_rules_too():
    made = rules.files(())
    assert "tfserving-slo" not in made[rules.ALERTING]
    assert "InstanceGone" in made[rules.ALERTING]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_runbook_and_to_its_page(rule):
    repository = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    noted = rule["annotations"]
    assert set(noted) == {"summary", "remedy", "threshold", "runbook_url", "page"}
    assert noted["runbook_url"] == f"{repository}/blob/main/docs/alerts.md#{rule['alert']}"
    assert re.match(r"\{\{ \$externalURL \}\}/consoles/[a-z]+\.html(\?|$)", noted["page"])
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_page_of_an_instance_is_told_which():
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "InstanceGone"]
    assert rule["annotations"]["page"] == (
        "{{ $externalURL }}/consoles/instance.html"
        "?host={{ $labels.host }}&serving_instance={{ $labels.serving_instance }}"
    )
    assert rule["labels"] == {"severity": "page", "scope": "instance"}


def test_an_instance_that_is_gone_is_told_within_a_minute_of_its_last_answer():
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "InstanceGone"]
    # A scrape finds it, the next evaluation sees that, and then it must last.
    assert 15 + 15 + alert_cases.seconds(rule["for"]) <= 60


def test_the_rules_keep_to_what_the_oldest_prometheus_knows():
    keys = {key for rule in (*RECORDED, *ALERTS) for key in rule}
    assert keys == {"record", "alert", "expr", "for", "labels", "annotations"}
