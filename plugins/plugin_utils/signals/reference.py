# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages docs/signals.md and docs/alerts.md, written from the table of signals."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from . import runbook
from .model import Alert, Scope, Signal
from .table import ALERTS, CONSTANTS, SIGNALS

WIDTH = 118
LICENCE = """\
<!--
Copyright: tfserving.fleet contributors
SPDX-License-Identifier: Apache-2.0
Written by tools/signal_docs.py from the table of signals (plugins/plugin_utils/signals/table). Do not edit.
-->
"""
SCOPES: dict[Scope, str] = {
    "fleet": "Instances, over all hosts",
    "instance": "An instance on a host",
    "host": "Hosts",
    "gpu": "GPUs",
    "gateway": "Gateways",
    "rollout": "Roll-outs",
    "monitoring": "Monitoring itself",
}
UNITS = {
    "s": "seconds",
    "µs": "µs",
    "percentunit": "0 to 1",
    "reqps": "a second",
    "bytes": "bytes",
    "short": "number",
    "celsius": "°C",
    "watt": "W",
    "hertz": "Hz",
    "bool": "0 or 1",
    "dateTimeAsIso": "time",
}
SIGNALS_TOP = """\
# Signals

What the fleet shows of itself. Each signal is a recording rule of Prometheus under the name in the first column; the
console pages, Grafana's dashboards, the alerts and the diagnosis all read these and no others. What the collector and
the servers export is turned into them by the expressions below each table, where `{models}` stands for the names of all
models.

No signal is an interpolated percentile. The server's histogram has buckets 1.8 apart: an interpolated p99 may be 79 %
too high or 44 % too low. So there are two signals, the limits of the bucket that p99 lies in, and the objective is
`violated`, `met` or, where it lies between the two, `undecided`.

What nobody measured is missing, never 0: pages say "no data", and no alert takes silence for health.
"""
ALERTS_TOP = """\
# Alerts, and what to do

One section for each alert, in the order of how much it matters: those that page, then those that make a ticket. The
same texts stand on the page `alerts.html` of the monitoring hosts, with what fires now.

A silence is for what somebody is working on: it ends by itself, and its comment says why and who. `amtool` runs on a
monitoring host; roll-outs that are planned silence what they cause themselves. `amtool silence query` lists what is
silenced, `amtool silence expire ID` ends it early.
"""


def signals_page(signals: Sequence[Signal] = (*CONSTANTS, *SIGNALS)) -> str:
    """Return docs/signals.md."""
    parts = [LICENCE, SIGNALS_TOP]
    for scope, title in SCOPES.items():
        some = [each for each in signals if each.scope == scope]
        if some:
            parts.append("\n".join([f"## {title}\n", *_table(some), "", *_expressions(some), ""]))
    return "\n".join(parts)


def _table(signals: Sequence[Signal]) -> Iterator[str]:
    yield "| signal | what it is | unit | one for each |"
    yield "|---|---|---|---|"
    for each in signals:
        by = ", ".join(f"`{label}`" for label in each.labels) or "fleet"
        yield f"| `{each.name}` | {_cell(f'{each.title}: {each.help}')} | {UNITS[each.unit]} | {by} |"


def _expressions(signals: Sequence[Signal]) -> Iterator[str]:
    yield "```promql"
    for each in signals:
        # Limits of single instances come from the plans, one rule for each.
        yield from _wrapped(f"{each.name} = {each.expr or '(from the plans)'}")
    yield "```"


def _wrapped(expr: str) -> list[str]:
    """Return PromQL on lines that are not too long; a blank within a text of it is rare, and stays."""
    return textwrap.wrap(expr, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def alerts_page(alerts: Sequence[Alert] | None = None, signals: Sequence[Signal] = (*CONSTANTS, *SIGNALS)) -> str:
    """Return docs/alerts.md."""
    rules = runbook.by_weight(runbook.every(ALERTS) if alerts is None else tuple(alerts))
    helps = {each.name: each.help for each in signals}
    overview = ["| alert | severity | about | threshold |", "|---|---|---|---|"]
    overview += [
        f"| [{each.name}](#{each.name}) | {each.severity} | {each.scope} | {_cell(each.threshold.value)} |"
        for each in rules
    ]
    return "\n".join([LICENCE, ALERTS_TOP, *overview, *(_section(each, helps) for each in rules)]) + "\n"


def _section(alert: Alert, helps: dict[str, str]) -> str:
    """Return the runbook of an alert. GitHub makes anchors small, links in alerts are not."""
    parts = [
        f'\n## <a id="{alert.name}"></a>{alert.name}\n',
        _prose(f"{SEVERITIES[alert.severity]} {_sentence(runbook.told(alert.summary))}"),
        _prose(f"**Threshold:** {alert.threshold.value}. {runbook.reason(alert)}"),
        _prose(f"**Do this:** {_sentence(runbook.told(alert.remedy))}"),
        *(_prose(f"**Looks at** `{name}`: {helps[name]}") for name in alert.signals if name in helps),
        "```promql\n" + "\n".join(_wrapped(alert.expr)) + "\n```\n",
        f"To silence it:\n\n```\n{runbook.silence(alert)}\n```",
    ]
    return "\n".join(parts)


SEVERITIES = {"page": "**Pages.**", "ticket": "**Makes a ticket.**"}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _prose(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"
