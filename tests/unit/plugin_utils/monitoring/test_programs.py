# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The programs of Debian 12 and 13 take what is made for them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import amtools
import promtools
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.action.monitoring_plan import hashed
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import alertmanager, contents, settings, web
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import rules, table
from monitoring_cases import planned, read
from repository import REPOSITORY

SECRETS = {
    "monitoring_password": "a-password-of-machines",
    "monitoring_users": {"ann": "a-password-of-ann"},
    "monitoring_mail": {
        "to": ["oncall@example.com"],
        "tickets_to": ["desk@example.com"],
        "from": "alerts@example.com",
        "smarthost": "mail.example.com:587",
        "username": "fleet",
        "password": "a-password-of-mail",
    },
    "monitoring_webhooks": [{"url": "https://hooks.example.com/a-token", "severities": ["page"]}],
    "monitoring_tls_ca": "-----BEGIN CERTIFICATE-----",
}
TEMPLATES = REPOSITORY / "roles/monitoring/templates/host/etc/prometheus/tfserving"


def made(place: Path) -> None:
    """Lay down the files of a monitoring host below a folder."""
    given = settings.complete(SECRETS)
    fleet = read()[0]
    found = contents.files(fleet, given, planned(fleet, **SECRETS), "mon-1", str(place), hashed)
    (place / "alertmanager").mkdir()
    (place / "alertmanager/tfserving.tmpl").write_text((TEMPLATES / "alertmanager/tfserving.tmpl").read_text())
    (place / "password").write_text("x")
    (place / "ca.pem").write_text("x")
    for folder in ("targets", "rules", "consoles"):
        (place / folder).mkdir()
        for each in found[folder]:
            ending = ".json" if folder == "targets" else ""
            (place / folder / f"{each['name']}{ending}").write_text(each["content"])
    for name in ("prometheus", "alertmanager", "web"):
        (place / f"{name}.yml").write_text(found[name].replace("/etc/prometheus/tfserving", str(place)))


def test_a_mail_uses_no_annotation_that_no_alert_has():
    used = re.findall(r"\.Annotations\.(\w+)", (TEMPLATES / "alertmanager/tfserving.tmpl").read_text())
    groups = yaml.safe_load(rules.files([])[rules.ALERTING])["groups"]
    assert used
    for rule in (each for group in groups for each in group["rules"]):
        assert {*used} <= {*rule["annotations"]}, rule["alert"]


def test_only_a_page_mutes_pages_that_it_does_not_name():
    alerts = table.alerts(())
    for each in alertmanager.inhibitions():
        if any(matcher.startswith("scope") for matcher in each["target_matchers"]):
            (source,) = each["source_matchers"]
            pattern = re.fullmatch('alertname=~?"(.+)"', source)
            severities = {alert.name: alert.severity for alert in alerts if re.fullmatch(pattern[1], alert.name)}
            assert severities
            assert {*severities.values()} == {"page"}, severities


def check(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", promtools.PACKAGES)
def test_both_releases_take_the_configuration_the_rules_and_the_accounts(version, tmp_path):
    program = promtools.program(version)
    made(tmp_path)
    assert "SUCCESS" in check(program, "check", "config", tmp_path / "prometheus.yml")
    check(program, "check", "web-config", tmp_path / "web.yml")


@pytest.mark.parametrize("version", amtools.PACKAGES)
def test_both_releases_take_the_routes_and_the_template(version, tmp_path):
    program = amtools.program(version)
    made(tmp_path)
    told = check(program, "check-config", tmp_path / "alertmanager.yml")
    assert "3 inhibit rules" in told
    assert "2 receivers" in told
    assert "1 templates" in told


@pytest.mark.parametrize("version", amtools.PACKAGES)
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [(["severity=page"], "page"), (["severity=ticket"], "ticket"), (["severity=other"], "ticket")],
)
def test_alerts_go_to_the_receiver_of_their_severity(version, labels, receiver, tmp_path):
    program = amtools.program(version)
    made(tmp_path)
    config = f"--config.file={tmp_path / 'alertmanager.yml'}"
    assert check(program, "config", "routes", "test", config, *labels).splitlines()[0] == receiver


def test_no_secret_is_in_a_plan():
    text = repr(planned(**SECRETS))
    for secret in ("a-password-of-machines", "a-password-of-ann", "a-password-of-mail", "a-token"):
        assert secret not in text


def test_tickets_may_have_readers_of_their_own():
    receivers = {each["name"]: each for each in alertmanager.configuration(settings.complete(SECRETS))["receivers"]}
    assert receivers["page"]["email_configs"][0]["to"] == "oncall@example.com"
    assert receivers["ticket"]["email_configs"][0]["to"] == "desk@example.com"
    assert "webhook_configs" not in receivers["ticket"]


def test_a_fleet_that_tells_nobody_is_told_so():
    assert planned()["warnings"] == [
        "monitoring_mail: is not set, nor is monitoring_webhooks, so alerts are on the pages and nobody is told"
    ]


def test_a_hash_is_the_same_in_every_run_and_another_on_each_host():
    given = settings.complete({"monitoring_password": "a-password-of-machines"})
    first, again, other = (
        web.web(given, host, "/etc", hashed)["basic_auth_users"]["tfserving"] for host in ("a", "a", "b")
    )
    assert first == again
    assert first != other
    assert settings.is_hash(first)


def test_a_controller_without_bcrypt_is_told_what_to_do():
    def broken(password: str, salt: str, cost: int) -> str:
        raise RuntimeError(f"cannot hash {password}")

    given = settings.complete(SECRETS)
    with pytest.raises(WishError) as caught:
        web.web({**given, "monitoring_password": "$2b$06$" + "a" * 53}, "mon-1", "/etc", broken)
    assert str(caught.value) == (
        "monitoring_users.ann: cannot be hashed, as this controller's Python knows no bcrypt; install its package"
        " passlib with bcrypt, or give the hash that htpasswd -nBC 10 prints"
    )
    assert caught.value.__context__ is None


def test_what_another_prometheus_takes_over_holds_jobs_rules_pages_and_dashboards():
    found = contents.elsewhere(read()[0], settings.complete(SECRETS))
    assert {"scrape.yml", "targets/node.json", "rules/tfserving-alerts.yml", "alertmanager.yml"} <= set(found)
    assert any(path.startswith("grafana/dashboards/") for path in found)
    assert "a-password" not in repr(found)
    assert "a-token" not in repr(found)
