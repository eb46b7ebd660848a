# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The fleet's pages for Prometheus itself: console templates that need no other program and ask no other machine.

A page is one file with its style and script. Jinja writes it once, with ``[[ ]]`` and ``[% %]``; Go's ``{{ }}`` in it
runs in Prometheus, which fills in the tables and escapes what it fills in. The script draws what happened over time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from ..report.page import TEMPLATES, renderer
from . import console_rollout, console_tables, gotext, layout, runbook
from .console_tables import HERE, ON_HOST, SERVICE, Titles
from .layout import Line, Panel
from .model import Alert, Scope, Signal
from .table import ALERTS, SIGNALS
from .tables import EVALUATED, Table

PAGES = {
    "fleet.html": "Fleet",
    "host.html": "Hosts",
    "instance.html": "Instances",
    "gpu.html": "GPUs",
    "rollout.html": "Roll-outs",
    "alerts.html": "Alerts",
}
VARIABLES: dict[str, tuple[str, ...]] = {
    "host.html": ("host",),
    "instance.html": ("host", "serving_instance"),
    "gpu.html": ("host", "gpu"),
}
RANGES = ("15m", "1h", "6h", "24h", "7d")
KEYS = {
    "host": "host",
    "serving_instance": "instance",
    "gpu": "GPU",
    "model": "model",
    "version": "version",
    "state": "state",
    "reason": "reason",
    "severity": "severity",
    "alertname": "alert",
}
TONES = {"page": "bad", "ticket": "doubt"}


@dataclass(frozen=True)
class Chart:
    """A chart of a page: PromQL, the labels that tell its series apart, and thresholds."""

    title: str
    help: str
    unit: str
    expr: str
    legend: str
    high: str = ""
    lines: tuple[Line, ...] = ()
    goal: str = ""

    @property
    def limits(self) -> str:
        """Return the thresholds as JSON, for the script."""
        return json.dumps([{"at": line.at, "name": line.name} for line in self.lines])


@dataclass(frozen=True)
class Rule:
    """An alert as the page of alerts shows it."""

    name: str
    severity: str
    tone: str
    scope: str
    summary: str
    threshold: str
    reason: str
    remedy: str
    expr: str
    silence: str
    firing: str
    signals: tuple[tuple[str, str], ...]


def pages() -> dict[str, str]:
    """Return the pages by file name."""
    rules = runbook.every(ALERTS)
    context = {
        **_tables(Titles(SIGNALS)),
        **_charts(SIGNALS, rules),
        **_rollout(),
        "rules": [_rule(alert, SIGNALS) for alert in runbook.by_weight(rules)],
        "others": _others(rules),
        "evaluated": Markup(gotext.text(f"{EVALUATED}")),
    }
    environment = _environment()
    return {file: _page(environment, file, title, context) for file, title in PAGES.items()}


def _environment() -> jinja2.Environment:
    environment = renderer(
        TEMPLATES / "consoles",
        TEMPLATES,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    environment.globals.update(
        go=Markup,
        go_text=lambda expr: Markup(gotext.text(expr)),
        ordered=_ordered,
        linked=_linked,
        keys_said=KEYS,
        pages=list(PAGES.items()),
        ranges=RANGES,
        css=_read("page.css") + _read("consoles/console.css"),
        script=_read("consoles/charts.js"),
    )
    return environment


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _page(environment: jinja2.Environment, file: str, title: str, context: dict[str, Any]) -> str:
    return environment.get_template(f"{file}.j2").render(
        this=file,
        title=title,
        variables=VARIABLES.get(file, ()),
        has_charts=file != "alerts.html",
        **context,
    )


def _ordered(table: Table) -> Markup:
    """Return the cells of a table, in the order of rows and columns."""
    found = "."
    for label in table.order:
        found = f'(sortByLabel "{label}" {found})'
    return Markup(found)


def _linked(key: str, keys: Sequence[str]) -> Markup:
    """Return the heading of a row, which leads one step down."""
    shown = f"{{{{ .Labels.{key} }}}}"
    if key == "alertname":
        return Markup(f'<a href="alerts.html#{shown}">{shown}</a>')
    parts = [each for each in ("host", "serving_instance", "gpu") if each in keys and (each == key or each == "host")]
    page = {"host": "host.html", "serving_instance": "instance.html", "gpu": "gpu.html"}.get(key)
    if not page:
        return Markup(shown)
    asked = "".join(f"{each}={{{{ .Labels.{each} }}}}&amp;" for each in parts)
    return Markup(f'<a href="{page}?{asked}range={{{{ $range }}}}">{shown}</a>')


def _tables(titles: Titles) -> dict[str, Any]:
    gpu = "{host=$host, gpu=$gpu}"
    return {
        "fleet_tiles": console_tables.fleet_tiles(titles),
        "host_tiles": console_tables.host_tiles(titles),
        "instance_tiles": console_tables.service_tiles(titles, HERE, SERVICE),
        "service_tiles": console_tables.service_tiles(titles, SERVICE, SERVICE),
        "alert_tiles": console_tables.alert_tiles(),
        "services": console_tables.services(titles),
        "hosts": console_tables.hosts(),
        "instances": console_tables.instances(titles),
        "host_instances": console_tables.instances(titles, "Instances of this host", ON_HOST),
        "service_instances": console_tables.instances(titles, "On each host", SERVICE),
        "gpus": console_tables.gpus(),
        "gpu_health": console_tables.gpu_health(),
        "host_gpus": console_tables.gpus(ON_HOST, "GPUs of this host"),
        "host_gpu_health": console_tables.gpu_health(ON_HOST),
        "one_gpu": console_tables.gpus(gpu, "Now"),
        "one_gpu_health": console_tables.gpu_health(gpu, "Health"),
        "gpu_reasons": console_tables.gpu_reasons(gpu),
        "versions": console_tables.versions(HERE, ()),
        "rollout_versions": console_tables.under_rollout(),
        "host_alerts": console_tables.firing(ON_HOST),
        "instance_alerts": console_tables.firing(HERE),
    }


def _rollout() -> dict[str, Any]:
    return {
        "rollouts": console_rollout.RUNNING,
        "share": console_rollout.SHARE,
        "members": console_rollout.MEMBERS,
        "arms": console_rollout.ARMS,
        "figures": console_rollout.figures(),
        "note": console_rollout.NOTE,
    }


def _charts(signals: tuple[Signal, ...], alerts: tuple[Alert, ...]) -> dict[str, list[tuple[str, list[Chart]]]]:
    def of(*scopes: Scope) -> list[Panel]:
        return layout.panels(signals, alerts, scopes)

    instance = of("instance", "fleet")
    hosted = [panel for panel in instance if "host" in panel.signal.labels]
    shared = [panel for panel in instance if "host" not in panel.signal.labels]
    return {
        "fleet_charts": [
            *_groups(layout.grouped(shared, layout.red)),
            *_groups([("Gateways", of("gateway")), ("Monitoring itself", of("monitoring"))]),
        ],
        "host_charts": _groups(layout.grouped(of("host"), layout.use), "host"),
        "instance_charts": _groups(layout.grouped(hosted, layout.red), "host", "serving_instance"),
        "service_charts": _groups(layout.grouped(shared, layout.red), "serving_instance"),
        "host_gpu_charts": _groups([("GPUs over time", of("gpu"))], "host"),
        "gpu_charts": _groups([("This GPU over time", of("gpu"))], "host", "gpu"),
        "rollout_charts": _groups([("Roll-outs over time", of("rollout"))]),
    }


def _groups(rows: Sequence[tuple[str, Sequence[Panel]]], *fixed: str) -> list[tuple[str, list[Chart]]]:
    """Return charts below their headings."""
    return [(title, [_chart(panel, *fixed) for panel in panels]) for title, panels in rows]


def _chart(panel: Panel, *fixed: str) -> Chart:
    """Return the chart of a panel, of what the page is about."""
    braces = gotext.matchers(panel.signal.labels, fixed, panel.matchers)
    if panel.signal.name == layout.VERDICT:
        worst = f"max by (serving_instance) ({console_tables.verdict(braces)})"
        said = panel.help.replace("1 for what", "What", 1)
        return Chart(panel.title, said, "verdict", worst, "" if fixed else "serving_instance")
    return Chart(
        panel.title,
        panel.help,
        panel.signal.unit,
        panel.signal.name + braces,
        " ".join(label for label in panel.legend if label not in fixed),
        panel.high + braces if panel.high else "",
        panel.lines,
        panel.goal + braces if panel.goal else "",
    )


def _rule(alert: Alert, signals: tuple[Signal, ...]) -> Rule:
    firing = f'ALERTS{{alertname="{alert.name}", alertstate="firing"}}'
    since = f'floor(ALERTS_FOR_STATE{{alertname="{alert.name}"}}) and ignoring (alertstate) {firing}'
    helps = {signal.name: signal.help for signal in signals}
    return Rule(
        alert.name,
        alert.severity,
        TONES[alert.severity],
        alert.scope,
        runbook.told(alert.summary),
        alert.threshold.value,
        runbook.reason(alert),
        runbook.told(alert.remedy),
        alert.expr,
        runbook.silence(alert),
        since,
        tuple((name, helps[name]) for name in alert.signals if name in helps),
    )


def _others(alerts: Sequence[Alert]) -> str:
    """Return PromQL for what fires and is no alert of the table."""
    names = "|".join(alert.name for alert in alerts)
    return f'count by (alertname) (ALERTS{{alertstate="firing", alertname!~"{names}"}})'
