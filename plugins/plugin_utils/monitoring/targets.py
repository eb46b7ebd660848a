# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus asks, as files that it reads again by itself whenever they change: a new host is no reload."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from .schema import Exporters, WatchedHost, Watcher

Group = dict[str, Any]
# What a host is to the fleet. One that is several things at once is watched as the first of them.
KINDS = ("serving", "gateway", "monitoring")


def endpoint(address: str, port: int) -> str:
    """Return an address with its port, as URLs have it."""
    return f"[{address}]:{port}" if ipaddress.ip_address(address).version == 6 else f"{address}:{port}"


def targets(
    serving: Mapping[str, WatchedHost],
    exporters: Mapping[str, Exporters],
    roles: Mapping[str, Sequence[str]],
    gateways: Mapping[str, str],
    watchers: Mapping[str, Watcher],
) -> dict[str, list[Group]]:
    """Return the targets of each job.

    :param serving: the serving hosts.
    :param exporters: the exporters of all hosts.
    :param roles: the names of the hosts by what they are to the fleet (``KINDS``).
    :param gateways: where the metrics of each gateway's HAProxy are.
    :param watchers: the monitoring hosts.
    """
    kinds = {name: kind for kind in reversed(KINDS) for name in roles.get(kind, ())}
    found = {
        "tfserving": [each for host, entry in sorted(serving.items()) for each in _instances(host, entry)],
        "node": [_node(name, exporters[name], kind) for name, kind in sorted(kinds.items())],
        "haproxy": [_group(place, name) for name, place in sorted(gateways.items())],
        "prometheus": [_watcher(name, each, "prometheus_port") for name, each in sorted(watchers.items())],
        "alertmanager": [_watcher(name, each, "alertmanager_port") for name, each in sorted(watchers.items())],
        "dcgm": [
            _group(endpoint(each["address"], each["dcgm_port"]), name)
            for name, each in sorted(exporters.items())
            if each["dcgm_port"] and name in serving
        ],
    }
    # A job without targets would be an alert about nothing.
    return {job: groups for job, groups in found.items() if groups}


def _group(place: str, host: str, **labels: str) -> Group:
    return {"targets": [place], "labels": {"instance": host, "host": host, **labels}}


def _instances(host: str, entry: WatchedHost) -> list[Group]:
    return [
        _group(
            endpoint(entry["address"], each["rest_port"]),
            host,
            # The same text as that of HAProxy's label "server".
            instance=f"{host}.{each['name']}",
            serving_instance=each["name"],
            __metrics_path__=each["metrics_path"],
        )
        for each in entry["instances"]
    ]


def _scheme(tls: bool) -> dict[str, str]:
    return {"__scheme__": "https"} if tls else {}


def _node(name: str, each: Exporters, kind: str) -> Group:
    return _group(endpoint(each["address"], each["node_port"]), name, kind=kind, **_scheme(each["tls"]))


def _watcher(name: str, each: Watcher, port: str) -> Group:
    return _group(endpoint(each["address"], each[port]), name, **_scheme(each["tls"]))  # type: ignore[literal-required]
