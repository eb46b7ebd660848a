# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Dashboards for those who have Grafana, of the same signals as the console pages.

They keep the rules of grafana/dashboard-linter: every query asks the data source of a variable, and selects what it
reads by job and instance. Signals made of other signals have no such labels left: rules have recorded them by host and
instance of the plan, so they are selected by those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from . import layout, runbook
from .layout import Panel
from .model import Alert, Scope, Signal
from .table import ALERTS, SIGNALS

# Grafana 9.0, whose time series panels and variables these are; newer ones bring older dashboards up to date.
SCHEMA = 36
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What holds no metric: a text, a list of labels; else a metric that something exports, with its matchers.
METRIC = re.compile(
    r"""(?P<none>"[^"]*"|\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\))"""
    r"|(?<![\w:$])(?P<name>:tensorflow:[\w:]+|(?:tfserving|node|prometheus|alertmanager|scrape)_\w+|up)(?![\w:(])"
    r"(?P<own>\{[^}]*\})?"
)
WINDOW = re.compile(r"\[[0-9]+[smhd]\]")
# Made of other signals, or of series whose labels are not yet those of the signal: only the rule knows which it means.
RULES_ONLY = re.compile(r"\btfserving:|\blabel_(?:replace|join)\b|\bhaproxy_|^$")
TAG = "tfserving"
WIDTH, HEIGHT = 12, 8
Row = tuple[str, list[Panel]]


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by uid, as Grafana keeps them."""
    rules = runbook.every(ALERTS)
    found = (
        _dashboard("fleet", "Fleet", ("serving_instance",), _fleet(SIGNALS, rules)),
        _dashboard("host", "Host", ("host",), _use(SIGNALS, rules)),
        _dashboard("instance", "Instance", ("host", "serving_instance"), _instance(SIGNALS, rules)),
        _dashboard("gpu", "GPU", ("host", "gpu"), [("GPUs", layout.panels(SIGNALS, rules, ["gpu"]))]),
    )
    return {each["uid"]: each for each in found}


def _fleet(signals: tuple[Signal, ...], alerts: tuple[Alert, ...]) -> list[Row]:
    """Return rate, errors and duration of what is served, then the rest."""
    shared = [
        panel for panel in layout.panels(signals, alerts, ["fleet", "instance"]) if "host" not in panel.signal.labels
    ]
    scopes: tuple[tuple[str, Scope], ...] = (
        ("Gateways", "gateway"),
        ("Roll-outs", "rollout"),
        ("Monitoring itself", "monitoring"),
    )
    rest = [(title, layout.panels(signals, alerts, [scope])) for title, scope in scopes]
    return [*layout.grouped(shared, layout.red), *rest]


def _instance(signals: tuple[Signal, ...], alerts: tuple[Alert, ...]) -> list[Row]:
    hosted = [panel for panel in layout.panels(signals, alerts, ["instance"]) if "host" in panel.signal.labels]
    return layout.grouped(hosted, layout.red)


def _use(signals: tuple[Signal, ...], alerts: tuple[Alert, ...]) -> list[Row]:
    """Return utilisation, saturation and errors of hosts."""
    return layout.grouped(layout.panels(signals, alerts, ["host"]), layout.use)


def _dashboard(name: str, title: str, about: tuple[str, ...], rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "uid": f"tfserving-{name}",
        "title": f"TensorFlow Serving / {title}",
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "refresh": "1m",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": "Fleet",
                "tags": [TAG],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_source(), *(_variable(each) for each in ("job", "instance", *about))]},
        "annotations": {"list": [_annotation()]},
        "panels": _placed(rows, about),
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


LABELS = {"job": "Job", "instance": "Instance", "host": "Host", "serving_instance": "Serving instance", "gpu": "GPU"}
# The series whose labels are the choices, each narrowed by the choices before it.
CHOICES = {
    "job": "label_values(up, job)",
    "instance": 'label_values(up{job=~"$job"}, instance)',
    "host": "label_values(up, host)",
    "serving_instance": 'label_values(up{job="tfserving"}, serving_instance)',
    "gpu": "label_values(tfserving_gpu_info, gpu)",
}


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": LABELS[name],
        "type": "query",
        "datasource": SOURCE,
        "query": CHOICES[name],
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def _annotation() -> dict[str, Any]:
    return {
        "name": "Alerts that page",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", severity="page"}',
        "titleFormat": "{{alertname}}",
    }


def _placed(rows: Sequence[Row], about: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return rows and panels, two beside each other, with numbers and places."""
    found: list[dict[str, Any]] = []
    y = 0
    for title, panels in rows:
        if panels:
            found.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _at(y, 0, 24, 1)})
            y += 1
            for place, panel in enumerate(panels):
                found.append({**_panel(panel, about), "gridPos": _at(y + place // 2 * HEIGHT, place % 2 * WIDTH)})
            y += (len(panels) + 1) // 2 * HEIGHT
    return [{**each, "id": number} for number, each in enumerate(found, 1)]


def _at(y: int, x: int, width: int = WIDTH, height: int = HEIGHT) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, about: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "targets": _targets(panel, about),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "min", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = [{"color": "transparent", "value": None}, *({"color": "orange", "value": line.at} for line in panel.lines)]
    return {
        "unit": panel.signal.unit,
        "noValue": "no data",
        "color": {"mode": "palette-classic"},
        # A gap stays one: nobody knows what was there.
        "custom": {"spanNulls": False, "thresholdsStyle": {"mode": "line" if panel.lines else "off"}},
        "thresholds": {"mode": "absolute", "steps": steps},
        "links": _links(panel.signal.labels),
    }


def _links(labels: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the way one step down, from a series to the instance, GPU or host that it is about."""
    level = next((each for each in ("gpu", "serving_instance", "host") if each in labels), None)
    if not level:
        return []
    page = {"serving_instance": "instance"}.get(level, level)
    chosen = [label for label in ("host", "serving_instance", "gpu") if label in labels]
    asked = "&".join(f"var-{label}=${{__field.labels.{label}}}" for label in chosen)
    return [{"title": f"{LABELS[level]} in detail", "url": f"/d/tfserving-{page}?{asked}&${{__url_time_range}}"}]


def _targets(panel: Panel, about: tuple[str, ...]) -> list[dict[str, Any]]:
    legend = " ".join(f"{{{{{label}}}}}" for label in panel.legend) or panel.title
    if not panel.high:
        return [_target("A", query(panel.signal, about, panel.matchers), legend)]
    labels = panel.signal.labels
    goal = [_target("C", recorded(panel.goal, labels, about), f"{legend} objective")] if panel.goal else []
    return [
        _target("A", recorded(panel.signal.name, labels, about, panel.matchers), f"{legend} at least"),
        _target("B", recorded(panel.high, labels, about, panel.matchers), f"{legend} at most"),
        *goal,
    ]


def _target(ref: str, expr: str, legend: str) -> dict[str, Any]:
    return {
        "refId": ref,
        "datasource": SOURCE,
        "expr": expr,
        "legendFormat": legend,
        "editorMode": "code",
        "range": True,
    }


def query(signal: Signal, about: tuple[str, ...], more: tuple[str, ...] = ()) -> str:
    """Return what a panel asks: the expression itself where it reads exported metrics, else what rules recorded."""
    if more or RULES_ONLY.search(signal.expr):
        return recorded(signal.name, signal.labels, about, more)
    return WINDOW.sub("[$__rate_interval]", selected(signal.expr, [each for each in about if each in signal.labels]))


def recorded(name: str, labels: tuple[str, ...], about: tuple[str, ...], more: tuple[str, ...] = ()) -> str:
    """Return a recorded signal, of what the dashboard is about."""
    found = ", ".join([*(f'{label}=~"${label}"' for label in labels if label in about), *more])
    return f"{name}{{{found}}}" if found else name


def selected(expr: str, about: Sequence[str]) -> str:
    """Return an expression whose exported metrics are selected by job, instance and what a dashboard is about."""
    ours = ", ".join(f'{label}=~"${label}"' for label in ("job", "instance", *about))

    def matched(found: re.Match[str]) -> str:
        if found["none"]:
            return found[0]
        own = (found["own"] or "{}")[1:-1].strip()
        return f"{found['name']}{{{own}, {ours}}}" if own else f"{found['name']}{{{ours}}}"

    return METRIC.sub(matched, expr)
