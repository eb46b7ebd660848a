# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables that cannot work are refused in a sentence, and secrets are never part of one."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import exporters, settings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.inventory import role_specs

MAIL = {"to": ["a@example.com"], "from": "b@example.com", "smarthost": "mail.example.com:25"}
HASH = "$2b$10$" + "a" * 53


def said(**given):
    with pytest.raises(WishError) as caught:
        settings.complete(given)
    return str(caught.value)


def test_the_defaults_are_those_of_the_role():
    assert {name: each["default"] for name, each in role_specs()["monitoring"].items()} == settings.DEFAULTS


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"monitoring_typo": 1}, "monitoring.monitoring_typo: is not a key of monitoring"),
        ({"monitoring_fleet": "a b"}, "monitoring_fleet: is a string; use up to 64 letters, digits and . _ -"),
        ({"monitoring_availability": 1}, "monitoring_availability: is the number 1"),
        ({"monitoring_retention_days": 0}, "monitoring_retention_days: is the number 0"),
        ({"monitoring_state": "gone"}, "monitoring_state: is the string 'gone'"),
        ({"monitoring_allow_from": ["10.0.0.1/8"]}, "monitoring_allow_from[0]: is an address within 10.0.0.0/8"),
        ({"monitoring_web_allow_from": "any"}, "monitoring_web_allow_from: is "),
        (
            {"monitoring_alertmanager_port": 9090},
            "monitoring_alertmanager_port: is 9090, as is monitoring_prometheus_port; choose another port",
        ),
        (
            {"monitoring_mail": {"to": ["a@b.c"]}},
            "monitoring_mail.from: is missing; set it, or leave out monitoring_mail",
        ),
        (
            {"monitoring_mail": {**MAIL, "to": ["a"]}},
            "monitoring_mail.to[0]: is the string 'a'; write it as NAME@DOMAIN",
        ),
        ({"monitoring_mail": {**MAIL, "smarthost": "mail"}}, "monitoring_mail.smarthost: is the string 'mail'; write"),
        (
            {"monitoring_mail": {**MAIL, "username": "u"}},
            "monitoring_mail.password: is missing; set both, or leave both",
        ),
        ({"monitoring_webhooks": [{}]}, "monitoring_webhooks[0].url: is missing; say where alerts are posted to"),
        (
            {"monitoring_users": {"tfserving": "x" * 20}},
            "monitoring_users.tfserving: is the monitoring hosts' own account",
        ),
        (
            {"monitoring_users": {"ann": HASH}},
            "monitoring_password: is empty and monitoring_users is set, so monitoring hosts could not read each other",
        ),
        (
            {"monitoring_password": HASH},
            "monitoring_password: is a bcrypt hash, and monitoring hosts log in with it; give the password itself",
        ),
        ({"monitoring_tls_key": "-----BEGIN x"}, "monitoring_tls_certificate: is empty and monitoring_tls_key is set"),
        ({"monitoring_url": "https://u:p@host/"}, "monitoring_url: holds more than host, port and path"),
    ],
)
def test_what_cannot_work_is_refused(given, sentence):
    assert sentence in said(**given)


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        ({"monitoring_password": "short-secret"}, "short-secret"),
        ({"monitoring_users": {"ann": "secret"}}, "secret"),
        ({"monitoring_webhooks": [{"url": "ftp://hooks.example.com/secret"}]}, "hooks"),
        ({"monitoring_tls_certificate": "hidden words"}, "hidden"),
    ],
)
def test_a_secret_is_not_part_of_a_refusal(given, secret):
    assert secret not in said(**given).replace("monitoring_webhooks", "")


def test_mail_and_hashes_are_taken_as_they_are():
    found = settings.complete(
        {"monitoring_mail": MAIL, "monitoring_users": {"ann": HASH}, "monitoring_password": "p" * 16}
    )
    assert found["monitoring_mail"] == MAIL
    assert settings.is_hash(found["monitoring_users"]["ann"])


@pytest.mark.parametrize(
    ("known", "may"),
    [
        ({}, True),
        ({"tfserving_previous_plan": {}}, False),
        ({"tfserving_previous_plan": {"monitoring": None}}, False),
        ({"tfserving_previous_plan": {"monitoring": {"hosts": []}}}, True),
    ],
)
def test_only_hosts_that_somebody_may_have_read_are_asked_for_exporters(known, may):
    assert exporters.left(known) is may
