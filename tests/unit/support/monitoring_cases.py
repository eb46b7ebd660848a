# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fleets to be watched, and the plans of their monitoring hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import fleet, settings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring.plan import monitoring_plan

BATCHING = {"max_batch_size": 32, "batch_timeout_micros": 2000, "num_batch_threads": 4}


def instance(name: str = "ranker", models: Any = ("ranker",), **keys: Any) -> dict[str, Any]:
    """Return an instance's plan, as far as it is watched."""
    return {
        "name": name,
        "models": list(models),
        "ports": {"grpc": 8500, "rest": 8501},
        "monitoring": {"prometheus_config": {"enable": True, "path": "/monitoring/prometheus/metrics"}},
        "objective_p99_ms": 100,
        "batching": dict(BATCHING),
        "gpus": [],
        **keys,
    }


def plan(*instances: Any) -> dict[str, Any]:
    """Return a host's plan with eight CPUs."""
    halves = {"housekeeping": {"cpus": "0-1"}, "serving": {"cpus": "2-7"}}
    return {**halves, "instances": list(instances) or [instance()]}


def variables(number: int, **keys: Any) -> dict[str, Any]:
    """Return a host's variables."""
    return {"inventory_hostname": f"h{number}", "tfserving_address": f"10.0.0.{number}", **keys}


GROUPS = {"serving": ["gpu-1", "gpu-2"], "gateway": ["edge-1"], "monitoring": ["mon-1"]}
HOSTS = {
    "gpu-1": variables(1, tfserving_plan=plan()),
    "gpu-2": variables(2, tfserving_plan=plan()),
    "edge-1": variables(5),
    "mon-1": variables(9),
}


def read(
    groups: Any = None, hosts: Any = None, records: Any = None, known: Any = None
) -> tuple[fleet.Fleet, list[str]]:
    """Return a fleet and its warnings."""
    return fleet.read(groups or GROUPS, hosts or HOSTS, records or {}, known or {})


def planned(found: Any = None, host: str = "mon-1", **keys: Any) -> Any:
    """Return a monitoring host's plan; names with ``monitoring_`` are settings."""
    given = {name: keys.pop(name) for name in list(keys) if name.startswith("monitoring_")}
    return monitoring_plan(found or read()[0], settings.complete(given), host, **keys)


def refusal(**keys: Any) -> str:
    """Return the sentence that refuses settings or a plan."""
    with pytest.raises(WishError) as caught:
        planned(**keys)
    return str(caught.value)
