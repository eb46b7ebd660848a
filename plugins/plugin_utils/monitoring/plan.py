# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a monitoring host, from the plans of all serving hosts; each figure with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

from . import alertmanager, commands, configuration, objectives, sizes
from .schema import Exporters, MonitoringPlan, WatchedHost, Watcher
from .targets import targets

SCHEMA = 1
DATA = "/var/lib/prometheus"


@dataclass(frozen=True)
class Fleet:
    """Everything that is watched.

    ``roles`` are the names of the hosts by what they are to the fleet, ``gateways`` where the metrics of each gateway
    are.
    """

    serving: Mapping[str, WatchedHost]
    exporters: Mapping[str, Exporters]
    roles: Mapping[str, Sequence[str]]
    gateways: Mapping[str, str]
    watchers: Mapping[str, Watcher]


def monitoring_plan(
    fleet: Fleet, settings: Mapping[str, Any], host: str, version: str = "", disk_mb: int = 0, memory_mb: int = 0
) -> MonitoringPlan:
    """Return the plan of one monitoring host as plain data, without secrets.

    :param settings: as settings.complete() returns them.
    :param host: the monitoring host's name.
    :param version: that of the installed Prometheus.
    :param disk_mb: what the file system of its data has free, and what Prometheus has there already; 0 if unknown.
    :param memory_mb: the host's memory; 0 if unknown.
    :raises WishError: the fleet is too large for the host.
    """
    days = settings["monitoring_retention_days"]
    others = len({name for names in fleet.roles.values() for name in names} - {*fleet.serving})
    counted = sizes.series(fleet.serving, others, len(fleet.gateways), len(fleet.watchers))
    found = sizes.sizes(*counted, days, settings["monitoring_disk_mb"])
    sizes.check(found, days, disk_mb, memory_mb, DATA)
    groups = targets(fleet.serving, fleet.exporters, fleet.roles, fleet.gateways, fleet.watchers)
    _promised, differing = objectives.objectives(fleet.serving, settings["monitoring_availability"])
    return {
        "schema": SCHEMA,
        "host": host,
        "version": version,
        "prometheus": prometheus(fleet, settings, groups),
        "alertmanager": alertmanager.hidden(alertmanager.configuration(settings)),
        "targets": groups,
        "sizes": found,
        "flags": {
            "prometheus": commands.prometheus(settings, fleet.watchers[host], found),
            "alertmanager": commands.alertmanager(settings, host, fleet.watchers),
        },
        "reasons": dict(configuration.REASONS),
        "warnings": [*differing, *alertmanager.warnings(settings)],
    }


def prometheus(
    fleet: Fleet, settings: Mapping[str, Any], jobs: Mapping[str, Any], alerting: bool = True
) -> dict[str, Any]:
    """Return prometheus.yml as data."""
    instances = [each for host in fleet.serving.values() for each in host["instances"]]
    models = {model for each in instances for model in each["models"]}
    largest = max((len(each["models"]) for each in instances), default=1)
    return configuration.configuration(settings, jobs, models, largest, alerting)


def check_passwords(passwords: Mapping[str, Any]) -> None:
    """Refuse hosts with different passwords of the fleet's account: a Prometheus knows one."""
    first = next(iter(passwords), "")
    for name, each in passwords.items():
        if each != passwords[first]:
            problem = f"is another on {name} than on {first}"
            raise WishError("monitoring_password", problem, "set one for all hosts, as in group_vars/all.yml")


def check_name(host: str) -> None:
    """Refuse the name of a host that no page could show."""
    if not host.isprintable() or len(host) > 200:
        raise WishError("groups['tfserving']", f"names {described(host)}, which is no name of a host", "rename it")
