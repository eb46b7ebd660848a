# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What pages and documentation both say of an alert."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .model import Alert

LABEL = re.compile(r"\{\{\s*\$labels\.(\w+)\s*\}\}")
ANY = re.compile(r"\{\{.*?\}\}")

# Long enough to repair something, short enough that a forgotten silence does no harm.
SILENCE = "2h"


def silence(alert: Alert) -> str:
    """Return the command that silences an alert for a while, on a monitoring host."""
    return f'amtool silence add alertname={alert.name} --duration={SILENCE} --comment="why, and who"'


def reason(alert: Alert) -> str:
    """Return why an alert fires from its threshold on, and who says so."""
    why = alert.threshold.reason
    return f"{why[:1].upper()}{why[1:].rstrip('.')} ({alert.threshold.source})."


def told(text: str) -> str:
    """Return a text of the table for people: its labels in capitals, and N for the value."""
    return ANY.sub("N", LABEL.sub(lambda label: label[1].upper(), text))


def every(alerts: Mapping[str, Sequence[Alert]]) -> tuple[Alert, ...]:
    """Return all alerts of the table, those of objectives included: pages are the same whatever was promised."""
    return tuple(alert for some in alerts.values() for alert in some)


def by_weight(alerts: tuple[Alert, ...]) -> list[Alert]:
    """Return those first that wake somebody."""
    return sorted(alerts, key=lambda alert: (alert.severity != "page", alert.name))
