# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A fleet on loopback: what its monitoring host plans for it, and the page of each target."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from support import scraped_pages
from support.collection import part
from support.replayed_pages import Target
from support.scraped_pages import Page, Shape

REST_PORT, NODE_PORT, STATUS_PORT, ALERTMANAGER_PORT = 28501, 29100, 28404, 29093
WATCHER, WATCHER_ADDRESS = "watch-1", "127.80.0.1"
FIRST = ipaddress.IPv4Address("127.80.1.1")
OTHERS = Shape(cpus=16, gpus=0, instances=())


class WatchedFleet:
    """Serving hosts of one shape, gateways, and one monitoring host."""

    def __init__(self, shape: Shape, hosts: int, gateways: int, prometheus_port: int) -> None:
        self.shape, self.prometheus_port, self.watcher_address = shape, prometheus_port, WATCHER_ADDRESS
        names = [*(f"gpu-{number:03}" for number in range(hosts)), *(f"edge-{number}" for number in range(gateways))]
        self.addresses = {name: str(FIRST + number) for number, name in enumerate(names)}
        self.serving, self.gateways = names[:hosts], names[hosts:]
        self.settings = part("plugin_utils.monitoring.settings").complete({})
        self.fleet = self._fleet()
        self.plan = part("plugin_utils.monitoring.plan").monitoring_plan(self.fleet, self.settings, WATCHER)

    def _fleet(self) -> Any:
        addresses = {**self.addresses, WATCHER: WATCHER_ADDRESS}
        exporters = {
            name: {"address": address, "node_port": NODE_PORT, "tls": False, "dcgm_port": 0}
            for name, address in addresses.items()
        }
        watcher = {
            "address": WATCHER_ADDRESS, "prometheus_port": self.prometheus_port,
            "alertmanager_port": ALERTMANAGER_PORT, "cluster_port": 0, "tls": False,
        }  # fmt: skip
        return part("plugin_utils.monitoring.plan").Fleet(
            serving={name: self._host(name) for name in self.serving},
            exporters=exporters,
            roles={"serving": self.serving, "gateway": self.gateways, "monitoring": [WATCHER]},
            gateways={name: f"{self.addresses[name]}:{STATUS_PORT}" for name in self.gateways},
            watchers={WATCHER: watcher},
        )

    def _host(self, name: str) -> dict[str, Any]:
        instances = [
            {
                "name": instance, "models": self.shape.models_of(instance), "rest_port": REST_PORT,
                "metrics_path": f"/{instance}/metrics", "objective_p99_ms": 100, "max_batch_size": 32,
                "batch_timeout_us": 2000, "batch_threads": 4,
            }
            for instance in self.shape.instances
        ]  # fmt: skip
        return {
            "address": self.addresses[name],
            "cpus": self.shape.cpus,
            "gpus": self.shape.gpus,
            "instances": instances,
        }

    def pages(self, interval_s: float, started: float) -> dict[Target, Page]:
        """Return the page of each target but Prometheus itself. Targets of one kind share it: their labels differ."""

        def page(series: list[scraped_pages.Series]) -> Page:
            return Page(series, interval_s, started)

        node, other = page(scraped_pages.node(self.shape)), page(scraped_pages.node(OTHERS))
        servers = {each: page(scraped_pages.server(self.shape.models_of(each))) for each in self.shape.instances}
        status = page(scraped_pages.gateway(self.serving, self.shape))
        found: dict[Target, Page] = {(WATCHER_ADDRESS, NODE_PORT, "/metrics"): other}
        found[WATCHER_ADDRESS, ALERTMANAGER_PORT, "/metrics"] = page(scraped_pages.alertmanager())
        for name in self.serving:
            found[self.addresses[name], NODE_PORT, "/metrics"] = node
            for instance, each in servers.items():
                found[self.addresses[name], REST_PORT, f"/{instance}/metrics"] = each
        for name in self.gateways:
            found[self.addresses[name], NODE_PORT, "/metrics"] = other
            found[self.addresses[name], STATUS_PORT, "/metrics"] = status
        return found

    def series_by_job(self) -> dict[str, int]:
        """Return how many series the pages of each job have together."""
        found: dict[str, int] = {}
        for target, page in self.pages(1, 0).items():
            found[job_of(target)] = found.get(job_of(target), 0) + len(page.series)
        return found

    def lay_down(self, folder: Path, interval_s: float) -> None:
        """Write configuration, targets and rules as a monitoring host gets them, with places below a folder."""
        contents = part("plugin_utils.monitoring.contents")
        configuration = part("plugin_utils.monitoring.configuration")
        usual = f"{part('plugin_utils.monitoring.sizes').SCRAPE_S}s"
        text = contents.yaml_text(self.plan["prometheus"]).replace(configuration.FOLDER, str(folder))
        data = yaml.safe_load(text)
        wanted = f"{round(interval_s * 1000)}ms"
        longest = f"{round(min(interval_s, 10) * 1000)}ms"
        data["global"] |= {"scrape_interval": wanted, "evaluation_interval": wanted, "scrape_timeout": longest}
        (folder / "prometheus.yml").write_text(contents.yaml_text(data), encoding="utf-8")
        (folder / "targets").mkdir()
        for job, groups in self.plan["targets"].items():
            (folder / f"targets/{job}.json").write_text(json.dumps(groups), encoding="utf-8")
        (folder / "rules").mkdir()
        for name, rules in contents.alert_rules(self.fleet, self.settings).items():
            changed = rules.replace(f"interval: {usual}", f"interval: {wanted}")
            (folder / f"rules/{name}").write_text(changed, encoding="utf-8")


def job_of(target: Target) -> str:
    """Return the job that a target belongs to."""
    return {REST_PORT: "tfserving", NODE_PORT: "node", STATUS_PORT: "haproxy"}.get(target[1], "alertmanager")


def kinds(pages: Mapping[Target, Page]) -> dict[str, Page]:
    """Return one page of each job, the largest."""
    found: dict[str, Page] = {}
    for target, page in pages.items():
        job = job_of(target)
        if job not in found or len(page.series) > len(found[job].series):
            found[job] = page
    return found
