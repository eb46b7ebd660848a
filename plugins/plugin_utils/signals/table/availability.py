# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Availability: the share of calls that do not fail, by what gateways and servers count.

A gateway sees calls that no server took, and no status of gRPC but its own: to it, a gRPC call that a server fails is
an answer like any other. A server sees the status of each call that it took. So the larger of the two counts of
failures is taken, which is what failed for sure.
"""

from __future__ import annotations

from ..model import Signal
from .latency import any_of, labelled, number_over, ratio_over
from .requests import GATEWAY_PROXIES, MODEL_OF_PROXY


def _of_models(matchers: str) -> str:
    """Return the rate of answers of gateways, by the instances that serve the model of a backend."""
    rate = (
        f'sum by (proxy) (rate(haproxy_backend_http_responses_total{{job="haproxy",{GATEWAY_PROXIES}{matchers}}}[5m]))'
    )
    by_model = f'sum by (model_name) (label_replace({rate}, "model_name", "$1", "proxy", "{MODEL_OF_PROXY}"))'
    return f"sum by (serving_instance) (tfserving:objective:model * on (model_name) group_left {by_model})"


def _larger(gateways: str, servers: str) -> str:
    """Return the larger of two rates of each instance, or the one that there is."""
    both = any_of([labelled(gateways, "by", "gateway"), labelled(servers, "by", "server")])
    return f"max by (serving_instance) ({both})"


SIGNALS = (
    Signal(
        "tfserving:availability_calls:rate5m",
        "Calls",
        "reqps",
        "fleet",
        _larger(_of_models(""), "sum by (serving_instance) (tfserving:calls:rate5m)"),
        "Calls a second of all hosts, by the gateways' count or the servers', whichever is larger.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:availability_bad:rate5m",
        "Failed calls",
        "reqps",
        "fleet",
        _larger(_of_models(',code="5xx"'), "sum by (serving_instance) (tfserving:errors:rate5m)"),
        "Calls a second that failed for sure, by the gateways' count or the servers', whichever is larger.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:availability_calls",
        "Calls in a window",
        "short",
        "fleet",
        number_over("tfserving:availability_calls:rate5m"),
        "Calls over a window, failed ones included.",
        ("serving_instance", "window"),
    ),
    Signal(
        "tfserving:availability_bad_ratio",
        "Share of failed calls",
        "percentunit",
        "fleet",
        ratio_over("tfserving:availability_bad:rate5m", "tfserving:availability_calls:rate5m"),
        "Share of calls that failed, by window.",
        ("serving_instance", "window"),
    ),
    Signal(
        "tfserving:availability_burn",
        "Use of the error budget",
        "short",
        "fleet",
        "tfserving:availability_bad_ratio / on (serving_instance) group_left () (1 - tfserving:objective:availability)",
        "How many times as fast as allowed the budget of failures is used up; 1 uses it up in 30 days.",
        ("serving_instance", "window"),
    ),
)
