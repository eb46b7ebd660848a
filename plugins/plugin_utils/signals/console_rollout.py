# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of a roll-out side by side: which servers are in each, and how they do.

Gateways know the arms, as backends ``PROTOCOL_MODEL_ARM`` with servers ``HOST.INSTANCE``. The servers' own figures are
taken over the servers of an arm. ``$rest`` and ``$grpc`` are the names of its two backends, ``$model`` is the model.
"""

from __future__ import annotations

from dataclasses import dataclass

from .console_tables import Tile

RUNNING = "group by (model, state, old, new) (tfserving_rollout_info)"
SHARE = "max(tfserving_rollout_share_ratio{model=$model})"
MEMBERS = "group by (server) (haproxy_server_status{proxy=$rest} or haproxy_server_status{proxy=$grpc})"
BUCKETS = "tfserving:latency_bucket:rate5m"
QUANTILE = 0.99
NOTE = (
    "Arms are compared with each other over the same time, never with yesterday. The verdict of a step is that of "
    "rollout.yml, which counts calls; this page shows the rates behind it."
)


@dataclass(frozen=True)
class Arm:
    """An arm: how the names of its backends end, and what it is."""

    title: str
    end: str
    said: str


ARMS = (
    Arm("Canary", "_canary", "Serves the new version."),
    Arm("Control", "_control", "Serves the old version, with as many calls as the canary."),
    Arm("Others", "", "Take the calls of neither arm."),
)


def of_arm(expr: str) -> str:
    """Return the series of an arm's servers."""
    return f'label_join({expr}, "server", ".", "host", "serving_instance") and on (server) {MEMBERS}'


def figures() -> list[Tile]:
    """Return what is shown of each arm."""
    calls = "tfserving:requests:rate5m{model_name=$model}"
    failed = "tfserving:errors:rate5m{model_name=$model}"
    ratio = f"sum({of_arm(failed)}) / (sum({of_arm(calls)}) > 0)"
    low, high = bracket()
    return [
        Tile("Requests, by the servers", "reqps", f"sum({of_arm(calls)})", ""),
        Tile("Failed, by the servers", "percentunit", ratio, ""),
        Tile("p99, all models of its servers", "between", low, "", high),
        *(each for name, protocol in (("REST", "$rest"), ("gRPC", "$grpc")) for each in _by_gateway(name, protocol)),
    ]


def _by_gateway(name: str, proxy: str) -> list[Tile]:
    """Return what the gateways say of an arm's calls of one protocol."""
    responses = f"haproxy_backend_http_responses_total{{proxy={proxy}"
    calls = f"sum(rate({responses}}}[5m]))"
    failed = f'sum(rate({responses}, code="5xx"}}[5m]))'
    mean = f"avg(haproxy_backend_response_time_average_seconds{{proxy={proxy}}})"
    return [
        Tile(f"{name} at the gateways", "reqps", calls, ""),
        Tile(f"{name}, HTTP 5xx", "percentunit", f"{failed} / ({calls} > 0)", ""),
        Tile(f"{name}, mean of the last 1024 calls", "s", mean, ""),
    ]


def bracket() -> tuple[str, str]:
    """Return the edges that an arm's p99 lies between, in milliseconds. Buckets are added up, percentiles never."""
    buckets = f"sum by (le) ({of_arm(BUCKETS)})"
    total = f"""(sum({of_arm(BUCKETS + '{le="+Inf"}')}) > 0)"""
    wanted = f"scalar({QUANTILE} * {total})"
    edge = "* 0 + on (le) group_left () tfserving:latency_edge_seconds"
    low = f"1000 * (max(({buckets} < {wanted}) {edge}) or 0 * {total})"
    high = f"1000 * min(({buckets} >= {wanted}) {edge})"
    return low, high
