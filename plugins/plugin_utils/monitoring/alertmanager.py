# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of Alertmanager; no field that 0.23 does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .configuration import FOLDER
from .settings import SEVERITIES

TEMPLATES = f"{FOLDER}/alertmanager/*.tmpl"
HIDDEN = "(secret)"

# How alerts of a severity become messages.
_TIMES = {
    # Someone gets up: half a minute to tell one cause from many, and a reminder twice a shift.
    "page": {"group_wait": "30s", "group_interval": "2m", "repeat_interval": "4h"},
    # Someone reads it in the morning; many tickets of one cause are one mail.
    "ticket": {"group_wait": "5m", "group_interval": "1h", "repeat_interval": "3d"},
}
# Of one cause: the same alert of the same instance is one message, on however many hosts.
_GROUP_BY = ["alertname", "serving_instance"]
_SUBJECT = (
    "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }}"
    "{{ with .CommonLabels.serving_instance }} {{ . }}{{ end }}{{ with .CommonLabels.host }} on {{ . }}{{ end }}"
    " ({{ .CommonLabels.severity }}, {{ .CommonLabels.fleet }})"
)


def configuration(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return alertmanager.yml as data, with the secrets of its receivers.

    :param settings: as settings.complete() returns them.
    """
    return {
        "global": _global(settings["monitoring_mail"]),
        "templates": [TEMPLATES],
        "route": {
            "receiver": "ticket",
            "group_by": _GROUP_BY,
            **_TIMES["ticket"],
            "routes": [
                {"matchers": [f'severity="{each}"'], "receiver": each, "group_by": _GROUP_BY, **_TIMES[each]}
                for each in SEVERITIES
            ],
        },
        "inhibit_rules": inhibitions(),
        "receivers": [_receiver(each, settings) for each in SEVERITIES],
    }


def inhibitions() -> list[dict[str, Any]]:
    """Return which alerts are silent while another tells their cause, on the same host.

    An alert without a label of the host, such as that of an objective, is never silent: calls do suffer.
    """
    return [
        {
            "source_matchers": ['alertname="HostGone"'],
            "target_matchers": ['alertname!="HostGone"', 'scope=~"instance|host|gpu|gateway|monitoring"'],
            "equal": ["host"],
        },
        {
            # A GPU or its driver that is at fault, before what its models suffer from it. Pages alone: of a GPU that is
            # well after an error there is a ticket, and whoever gets up for the instance must hear of it.
            "source_matchers": ['alertname=~"Gpu(Missing|EccUncorrectable|RemapFailed|XidCritical)"'],
            "target_matchers": ['scope="instance"'],
            "equal": ["host"],
        },
        {
            "source_matchers": ['alertname="GateClosedForLong"'],
            "target_matchers": ['alertname=~"Instance(Gone|Hangs)"'],
            "equal": ["host", "serving_instance"],
        },
    ]


def _global(mail: Mapping[str, Any]) -> dict[str, Any]:
    if not mail:
        return {"resolve_timeout": "5m"}
    account = (
        {"smtp_auth_username": mail["username"], "smtp_auth_password": mail["password"]} if "username" in mail else {}
    )
    return {
        "resolve_timeout": "5m",
        "smtp_smarthost": mail["smarthost"],
        "smtp_from": mail["from"],
        **account,
        "smtp_require_tls": mail.get("require_tls", True),
    }


def _receiver(severity: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    mail = settings["monitoring_mail"]
    to = mail.get("tickets_to", mail.get("to", [])) if severity == "ticket" else mail.get("to", [])
    hooks = [each for each in settings["monitoring_webhooks"] if severity in each["severities"]]
    found: dict[str, Any] = {"name": severity}
    if to:
        found["email_configs"] = [_mail(", ".join(to))]
    if hooks:
        found["webhook_configs"] = [{"url": each["url"], "send_resolved": True} for each in hooks]
    return found


def _mail(to: str) -> dict[str, Any]:
    return {
        "to": to,
        "send_resolved": True,
        "headers": {"Subject": _SUBJECT},
        "text": '{{ template "tfserving.text" . }}',
        "html": "",
    }


def hidden(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose secrets are left out, for plans and people."""
    known = dict(config["global"])
    if "smtp_auth_password" in known:
        known["smtp_auth_password"] = HIDDEN
    receivers = [
        {
            **each,
            **(
                {"webhook_configs": [{**hook, "url": HIDDEN} for hook in each["webhook_configs"]]}
                if "webhook_configs" in each
                else {}
            ),
        }
        for each in config["receivers"]
    ]
    return {**config, "global": known, "receivers": receivers}


def warnings(settings: Mapping[str, Any]) -> list[str]:
    """Return what a reader may believe to be told."""
    if settings["monitoring_mail"] or settings["monitoring_webhooks"]:
        return []
    return ["monitoring_mail: is not set, nor is monitoring_webhooks, so alerts are on the pages and nobody is told"]
