# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a monitoring host, and what a Prometheus elsewhere takes over, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from ..signals import consoles, grafana, rules
from . import alertmanager, amtool, objectives
from .configuration import CA_FILE, PASSWORD_FILE
from .plan import Fleet, prometheus
from .targets import targets
from .web import Hash, web

_WIDTH = 120

_EXAMPLE = "# An example: its routes and inhibitions are those that the alerts are made for.\n"
# How a datasource and the dashboards come into Grafana without a click (Grafana's documentation, Provisioning).
_PROVIDER = {
    "apiVersion": 1,
    "providers": [
        {
            "name": "tfserving",
            "folder": "TensorFlow Serving",
            "type": "file",
            "options": {"path": "/var/lib/grafana/dashboards/tfserving"},
        }
    ],
}


class _Plain(yaml.SafeDumper):
    """A dumper that writes what occurs twice out twice: people read these files."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(data: Any) -> str:
    """Return data as a YAML file."""
    return str(yaml.dump(data, Dumper=_Plain, sort_keys=False, width=_WIDTH, allow_unicode=True))


def json_text(data: Any) -> str:
    """Return data as a JSON file."""
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def alert_rules(fleet: Fleet, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the rule files by name."""
    promised, _sentences = objectives.objectives(fleet.serving, settings["monitoring_availability"])
    return rules.files(promised)


def named(files: Mapping[str, str]) -> list[dict[str, str]]:
    """Return files as template_tree expands them."""
    return [{"name": name, "content": content} for name, content in sorted(files.items())]


def files(
    fleet: Fleet, settings: Mapping[str, Any], plan: Mapping[str, Any], host: str, folder: str, hashed: Hash
) -> dict[str, Any]:
    """Return the contents of a monitoring host's files. Some are secret."""
    return {
        "prometheus": yaml_text(plan["prometheus"]),
        "alertmanager": yaml_text(alertmanager.configuration(settings)),
        "amtool": yaml_text(amtool.configuration(settings, fleet.watchers[host])),
        "amtool_http": yaml_text(amtool.http(settings, fleet.watchers[host])),
        "web": yaml_text(web(settings, host, folder, hashed)),
        "targets": named({job: json_text(groups) for job, groups in plan["targets"].items()}),
        "rules": named(alert_rules(fleet, settings)),
        "consoles": named(consoles.pages()),
    }


def elsewhere(fleet: Fleet, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what a Prometheus, Alertmanager and Grafana elsewhere take over, by path. No secret is in it."""
    groups = targets(fleet.serving, fleet.exporters, fleet.roles, fleet.gateways, fleet.watchers)
    scraped = prometheus(fleet, settings, groups, alerting=False)["scrape_configs"]
    example = {
        **settings,
        "monitoring_mail": {
            "to": ["oncall@example.com"],
            "from": "alerts@example.com",
            "smarthost": "mail.example.com:587",
        },
        "monitoring_webhooks": [],
    }
    return {
        "scrape.yml": _comment(settings) + yaml_text({"scrape_configs": scraped}),
        **{f"targets/{job}.json": json_text(each) for job, each in groups.items()},
        **{f"rules/{name}": text for name, text in alert_rules(fleet, settings).items()},
        **{f"consoles/{name}": text for name, text in consoles.pages().items()},
        **{f"grafana/dashboards/{uid}.json": json_text(each) for uid, each in grafana.dashboards().items()},
        "grafana/provisioning/dashboards/tfserving.yml": yaml_text(_PROVIDER),
        "alertmanager.yml": _EXAMPLE + yaml_text(alertmanager.configuration(example)),
    }


def _comment(settings: Mapping[str, Any]) -> str:
    needs = [f"rules/*.yml as rule_files, the external label fleet: {settings['monitoring_fleet']}"]
    needs += [f"{PASSWORD_FILE} with monitoring_password"] if settings["monitoring_password"] else []
    needs += [f"{CA_FILE} with monitoring_tls_ca"] if settings["monitoring_tls_ca"] else []
    return (
        "# For prometheus.yml of a Prometheus elsewhere, with targets/ at the path that the jobs name.\n"
        f"# Besides these jobs it needs {', '.join(needs)}.\n"
    )
