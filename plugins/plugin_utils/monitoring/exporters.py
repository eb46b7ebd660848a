# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host needs to be watched, and who may connect to its ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from ..wishes import addresses, tls
from ..wishes.monitoring import ALLOW_FROM, WEB_ALLOW_FROM
from . import commands, hosts
from .contents import yaml_text
from .plan import Fleet
from .web import Hash, web

LOCAL = ("localhost",)
Rules = list[dict[str, Any]]


def check(settings: Mapping[str, Any], now: datetime | None = None) -> None:
    """Raise WishError, without secrets in its text, for certificates that would fail every handshake."""
    refusals, moment = Refusals(), now or datetime.now(timezone.utc)
    names = ("monitoring_tls_certificate", "monitoring_tls_key")
    if settings[names[0]]:
        refusals.check(tls.check_pair, *(settings[name] for name in names), moment, names, "renew it")
    if settings["monitoring_tls_ca"]:
        refusals.check(tls.check_authorities, settings["monitoring_tls_ca"], moment, "monitoring_tls_ca", "renew it")
    refusals.stop()


def exporters(
    settings: Mapping[str, Any],
    host: str,
    variables: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    state: Mapping[str, Any],
    hashed: Hash,
) -> dict[str, Any]:
    """Return whether a host is watched, and its node exporter's command, files and address rules. Some are secret."""
    watchers = [hosts.place(name, variables["hostvars"][name]) for name in groups["monitoring"]]
    allowed = [*watchers, *settings[ALLOW_FROM]]
    package = state.get("packages", {}).get("prometheus-node-exporter", {})
    ports = [settings["monitoring_node_port"]]
    return {
        "wanted": bool(allowed) and settings["monitoring_state"] == "present",
        "left": left(variables),
        # Only where there is a plan, or HAProxy with certificates, is there something to collect.
        "collects": host in {*groups["serving"], *groups["gateway"]},
        "ports": ports,
        "command": commands.node_exporter(settings, package.get("installed") or package.get("candidate") or ""),
        "web": yaml_text(web(settings, host, commands.EXPORTER_FOLDER, hashed, people=False)),
        "allowed": [*LOCAL, *allowed],
        "rules": [rule(ports, [*LOCAL, *allowed])],
    }


def left(variables: Mapping[str, Any]) -> bool:
    """Return whether an earlier run may have left exporters, by the plan that was in force before this run.

    Of gateways, and in monitoring.yml, nothing is known of such a plan; so they are asked.
    """
    previous = variables.get("tfserving_previous_plan")
    return not isinstance(previous, Mapping) or previous.get("monitoring") is not None


def watcher(fleet: Fleet, settings: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return who may open the pages of a monitoring host, and which ports it has."""
    own = [*LOCAL, *(each["address"] for each in fleet.watchers.values())]
    pages = [settings["monitoring_prometheus_port"], settings["monitoring_alertmanager_port"]]
    rules = [rule(pages, [*own, *settings[WEB_ALLOW_FROM]])]
    cluster = [settings["monitoring_cluster_port"]] if len(fleet.watchers) > 1 else []
    # Alertmanagers gossip over UDP as well.
    rules += [{**rule(cluster, own), "protocols": ["tcp", "udp"]}] if cluster else []
    return {"rules": rules, "ports": [*pages, *cluster]}


def rule(ports: Sequence[int], allowed: Sequence[str]) -> dict[str, Any]:
    """Return who may connect to ports, as the templates of the address rules take it."""
    return {"ports": list(ports), "networks": addresses.networks(list(allowed)), "protocols": ["tcp"]}
