# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The monitoring hosts of the scenario monitoring, as people see them."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

HOST, EDGE = "molecule-monitoring-a", "molecule-monitoring-edge"
WATCHERS = ("molecule-monitoring-watch-a", "molecule-monitoring-watch-b")
BRIDGE = ["docker", "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}}{{end}}", "tfserving-lab"]


@dataclass(frozen=True)
class Watcher:
    """Prometheus and Alertmanager of one host, asked as people ask them."""

    name: str
    address: str

    def page(self, path: str, port: int = 9090) -> str:
        with urllib.request.urlopen(f"http://{self.address}:{port}{path}", timeout=30) as answer:
            return answer.read().decode()

    def ask(self, path: str, port: int = 9090) -> Any:
        return json.loads(self.page(path, port))

    def query(self, expression: str) -> list[dict]:
        """Return the series of an expression, each a mapping of labels with the value as ``value``."""
        answer = self.ask(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return [{**each["metric"], "value": float(each["value"][1])} for each in answer["data"]["result"]]

    def values(self, expression: str, label: str) -> dict[str, float]:
        return {each[label]: each["value"] for each in self.query(expression)}

    def targets(self) -> list[dict]:
        return self.ask("/api/v1/targets?state=active")["data"]["activeTargets"]

    def firing(self) -> set[str]:
        return {each["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}
