# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The alerts that planned work causes, which nobody is told of meanwhile: options of the module alert_silence.

Never one that says how the fleet serves its callers: those have no host, or are pages that a roll-out must not cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..benchmark import options

# By model: hosts take the new version one after the other.
ROLLOUT_OF_MODEL = ("VersionSkew",)
# By instance: it leaves the traffic, loads a version a few times, and restarts where the version has ended it.
ROLLOUT_OF_INSTANCE = ("GateClosedForLong", "GatewayServerDown", "InstanceRestarts", "ModelLoadLoop", "PlanDrift")
# Of a drained host or instance, whose server may stop and whose machine may be switched off.
DRAIN_OF_INSTANCE = ("GateClosedForLong", "GatewayServerDown", "InstanceGone", "InstanceRestarts", "PlanDrift")
DRAIN_OF_HOST = (*DRAIN_OF_INSTANCE, "CollectorMissing", "CollectorStale", "HostGone", "NodeExporterGone")

# Beside the steps: what takes longer without a sign of life is no longer planned. A run lengthens it in every round.
MARGIN_MINUTES = 60.0
# A drain without an end, as long as nobody says that it goes on.
DRAIN_MINUTES = 24 * 60.0
LONGEST_MINUTES = 7 * 24 * 60.0

_until = options.seconds(1, 30 * 24 * 3600.0)


def rollout(
    state: Mapping[str, Any],
    instances: Mapping[str, Sequence[str]],
    wish: Mapping[str, Any] | None = None,
    steps: int = 0,
) -> dict[str, Any]:
    """Return what a roll-out silences for its next ``steps``.

    :param instances: of each host those that serve the model; :param wish: the wish ``rollout`` of the model.
    """
    scopes = [{"alertname": list(ROLLOUT_OF_MODEL), "model": [state["model"]]}]
    names = sorted({name for each in instances.values() for name in each})
    if names:
        of_instances = {"host": sorted(instances), "serving_instance": names}
        scopes.append({"alertname": list(ROLLOUT_OF_INSTANCE), **of_instances})
    step_s = wish["interval"] + wish["progress_deadline"] if wish else 0.0
    return {
        "name": f"roll-out of {state['model']}",
        "comment": f"{state['model']} from version {state['old']} to {state['new']}",
        "scopes": scopes,
        "minutes": min(MARGIN_MINUTES + steps * step_s / 60, LONGEST_MINUTES),
    }


def drain(host: str, instance: str = "", until: str = "") -> dict[str, Any]:
    """Return what a drained host, or one instance of it, silences.

    :param until: such as ``2h``, when the traffic comes back by itself. Raises WishError if it is no time.
    """
    scope = {"alertname": list(DRAIN_OF_INSTANCE if instance else DRAIN_OF_HOST), "host": [host]}
    return {
        "name": f"drain of {host}" + (f" {instance}" if instance else ""),
        "comment": f"{instance or 'all instances'} of {host} drained",
        "scopes": [{**scope, "serving_instance": [instance]} if instance else scope],
        "minutes": min(max(_until("until", until) / 60, 1.0), LONGEST_MINUTES) if until else DRAIN_MINUTES,
    }
