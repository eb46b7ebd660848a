# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Rule files of Prometheus, made from the table of signals. Versions from 2.31 on read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from . import table
from .model import MODELS, Alert, Objective, Scope, Signal
from .table import objectives as constants

RECORDING, ALERTING = "tfserving-recording.yml", "tfserving-alerts.yml"
RUNBOOKS = "https://github.com/tfserving/fleet/blob/main/docs/alerts.md"
INTERVAL = "15s"

_HEADER = """\
# Made by tfserving.fleet from its table of signals (plugins/plugin_utils/signals/table/): a change made here is lost.
# Rules are evaluated in order, so each sees the figures of those before it.
"""
# The page that shows what an alert is about, and the labels that it takes to find it there.
_PAGES: dict[Scope, tuple[str, tuple[str, ...]]] = {
    "fleet": ("fleet.html", ()),
    "instance": ("instance.html", ("host", "serving_instance")),
    "host": ("host.html", ("host",)),
    "gpu": ("gpu.html", ("host", "gpu")),
    "gateway": ("fleet.html", ()),
    "rollout": ("rollout.html", ()),
    "monitoring": ("alerts.html", ()),
}


def files(objectives: Sequence[Objective]) -> dict[str, str]:
    """Return the rule files of a fleet, by name. Raises WishError for an objective that no histogram can show."""
    ordered = sorted(objectives, key=lambda each: each.serving_instance)
    return {RECORDING: _text(_recording(ordered)), ALERTING: _text(_alerting(ordered))}


def _text(groups: list[dict[str, Any]]) -> str:
    shown: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=2**16, allow_unicode=True)
    return _HEADER + shown


def _recording(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    # One group: groups run at the same time, and what one records another would see a round later.
    models = _models(objectives)
    rules = [*_constants(objectives), *(_record(each, models) for each in table.SIGNALS)]
    return [{"name": "tfserving", "interval": INTERVAL, "rules": rules}]


def _constants(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    return [
        {"record": each.record, "expr": f"vector({each.value:.10g})", "labels": each.labels}
        for each in constants.constants(objectives)
    ]


def _models(objectives: Sequence[Objective]) -> str:
    """Return the pattern of all models: the longest names first, as what follows a name may be the end of another."""
    names = {model for each in objectives for model in each.models}
    return "|".join(name.replace(".", "[.]") for name in sorted(names, key=lambda name: (-len(name), name)))


def _record(signal: Signal, models: str) -> dict[str, Any]:
    return {"record": signal.name, "expr": signal.expr.replace(MODELS, models)}


def _alerting(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    known = {alert.name for alert in table.alerts(objectives)}
    groups = []
    for subject, alerts in table.ALERTS.items():
        rules = [_alert(alert) for alert in alerts if alert.name in known]
        if rules:
            groups.append({"name": f"tfserving-{subject}", "interval": INTERVAL, "rules": rules})
    return groups


def _alert(alert: Alert) -> dict[str, Any]:
    limit = alert.threshold
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.after,
        "labels": {"severity": alert.severity, "scope": alert.scope, **alert.labels},
        "annotations": {
            "summary": alert.summary,
            "remedy": alert.remedy,
            "threshold": f"{limit.value}: {limit.reason} ({limit.source})",
            "runbook_url": f"{RUNBOOKS}#{alert.name}",
            "page": _page(alert.scope),
        },
    }


def _page(scope: Scope) -> str:
    """Return the address of a console page, as Prometheus fills it in."""
    file, keys = _PAGES[scope]
    wanted = "&".join(f"{key}={{{{ $labels.{key} }}}}" for key in keys)
    return f"{{{{ $externalURL }}}}/consoles/{file}" + (f"?{wanted}" if wanted else "")
