# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command lines of Prometheus, Alertmanager and the node exporter: flags that all supported versions know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .configuration import CONSOLES, FOLDER
from .schema import Sizes, Watcher
from .targets import endpoint

# What the rules, the pages and a diagnosis read. The node exporter's own defaults are forty collectors, of which many
# concern other machines, and each costs time and series in every scrape. Left out on purpose: interrupts, a series for
# each interrupt and CPU, 50,000 on a large host; cgroups and perf, which count what the fleet's collector tells better.
COLLECTORS = (
    *("bonding", "conntrack", "cpu", "cpufreq", "diskstats", "edac", "filefd", "filesystem", "hwmon", "infiniband"),
    *("loadavg", "mdadm", "meminfo", "meminfo_numa", "netclass", "netdev", "netstat", "os", "pressure", "processes"),
    *("schedstat", "sockstat", "softnet", "stat", "systemd", "textfile", "thermal_zone", "time", "timex", "uname"),
    "vmstat",
)
# Off by default in the node exporter: without them a page has no units, no memory of each node and no count of threads.
OFF_BY_DEFAULT = ("meminfo_numa", "processes", "systemd")
TEXTFILES = "/var/lib/prometheus/node-exporter"
UNITS = (
    "(tfserving.*|haproxy|keepalived|prometheus.*|nvidia-(persistenced|fabricmanager)|chrony|ntpsec|systemd-timesyncd)"
    r"\.(service|timer)"
)
# Where the node exporter's own TLS and account are: another role's tasks lay them down than Prometheus's.
EXPORTER_FOLDER = "/etc/prometheus/tfserving-exporter"
# Renamed in 1.5.0 (prometheus/node_exporter CHANGELOG).
RENAMED = (1, 5)


def prometheus(settings: Mapping[str, Any], own: Watcher, sizes: Sizes) -> list[str]:
    """Return the command line of Prometheus."""
    port = settings["monitoring_prometheus_port"]
    return [
        "/usr/bin/prometheus",
        f"--config.file={FOLDER}/prometheus.yml",
        "--storage.tsdb.path=/var/lib/prometheus/metrics2/",
        f"--storage.tsdb.retention.time={settings['monitoring_retention_days']}d",
        f"--storage.tsdb.retention.size={sizes['retention_mb']}MB",
        f"--web.listen-address=:{port}",
        f"--web.external-url={settings['monitoring_url'] or url(own, port)}",
        # Else it would answer below the path of that address alone, where neither a scrape nor the proof of a run asks.
        "--web.route-prefix=/",
        f"--web.config.file={FOLDER}/web.yml",
        f"--web.console.templates={CONSOLES}",
        f"--web.console.libraries={CONSOLES}",
    ]


def url(own: Watcher, port: int) -> str:
    """Return the address of a page of a monitoring host."""
    return f"{'https' if own['tls'] else 'http'}://{endpoint(own['address'], port)}"


def alertmanager(settings: Mapping[str, Any], host: str, watchers: Mapping[str, Watcher]) -> list[str]:
    """Return the command line of Alertmanager."""
    port = settings["monitoring_alertmanager_port"]
    return [
        "/usr/bin/prometheus-alertmanager",
        f"--config.file={FOLDER}/alertmanager.yml",
        "--storage.path=/var/lib/prometheus/alertmanager/",
        f"--web.listen-address=:{port}",
        f"--web.external-url={url(watchers[host], port)}",
        f"--web.config.file={FOLDER}/web.yml",
        *_cluster(settings, host, watchers),
    ]


def _cluster(settings: Mapping[str, Any], host: str, watchers: Mapping[str, Watcher]) -> list[str]:
    """Return how Alertmanagers find each other, so that an alert is one mail; alone it opens no port for that."""
    own = watchers[host]
    others = [each for name, each in sorted(watchers.items()) if name != host]
    if not others:
        return ["--cluster.listen-address="]
    return [
        f"--cluster.listen-address={endpoint(own['address'], settings['monitoring_cluster_port'])}",
        *(f"--cluster.peer={endpoint(each['address'], each['cluster_port'])}" for each in others),
    ]


def node_exporter(settings: Mapping[str, Any], package: str) -> list[str]:
    """Return the command line of the node exporter.

    :param package: the version of its package, such as ``1.5.0-1+b6``.
    """
    return [
        "/usr/bin/prometheus-node-exporter",
        f"--web.listen-address=:{settings['monitoring_node_port']}",
        f"{_web_flag(package)}={EXPORTER_FOLDER}/web.yml",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in COLLECTORS),
        f"--collector.systemd.unit-include={UNITS}",
        f"--collector.textfile.directory={TEXTFILES}",
        # How busy the exporter itself is, is in the figures of its unit.
        "--web.disable-exporter-metrics",
    ]


def _web_flag(package: str) -> str:
    found = re.match(r"([0-9]+)\.([0-9]+)", package)
    old = found is not None and (int(found[1]), int(found[2])) < RENAMED
    return "--web.config" if old else "--web.config.file"
