# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""All signals and alerts, one file for each subject."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Alert, Objective, Signal
from . import (
    availability,
    batching,
    cache,
    certificates,
    cpus,
    gateway,
    gpus,
    host,
    latency,
    memory,
    models,
    monitoring,
    requests,
    rollouts,
    slo,
)
from . import objectives as constants

# Recorded in this order; each uses signals of those before it, and of itself.
SUBJECTS = {
    "latency": latency,
    "requests": requests,
    "availability": availability,
    "batching": batching,
    "models": models,
    "memory": memory,
    "cpus": cpus,
    "gpus": gpus,
    "gateway": gateway,
    "cache": cache,
    "rollouts": rollouts,
    "host": host,
    "certificates": certificates,
    "monitoring": monitoring,
}

SIGNALS: tuple[Signal, ...] = tuple(signal for subject in SUBJECTS.values() for signal in subject.SIGNALS)
# What the plans promise, as series: constants without an expression.
CONSTANTS: tuple[Signal, ...] = constants.SIGNALS
SIGNAL_BY_NAME: dict[str, Signal] = {signal.name: signal for signal in (*CONSTANTS, *SIGNALS)}

ALERTS: dict[str, tuple[Alert, ...]] = {
    "slo": slo.ALERTS,
    **{name: subject.ALERTS for name, subject in SUBJECTS.items() if hasattr(subject, "ALERTS")},
}


def alerts(objectives: Sequence[Objective]) -> tuple[Alert, ...]:
    """Return the alerts of a fleet with these objectives: without one, nobody has promised anything."""
    return tuple(alert for subject, some in ALERTS.items() if subject != "slo" or objectives for alert in some)
