# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Gateways: what callers get from them, and which servers they would send calls to."""

from __future__ import annotations

from .. import sources
from ..model import Alert, Signal, Threshold
from ..thresholds import GATEWAY_BUSY, GATEWAY_CONNECTIONS_USED
from .requests import GATEWAY_PROXIES, HELD_ON_PURPOSE, of_server

_JOB = 'job="haproxy"'
_BACKENDS = f'{_JOB},proxy=~"(rest|grpc)_.+"'

SIGNALS = (
    Signal(
        "tfserving:gateway_answers:rate5m",
        "Answers of gateways",
        "reqps",
        "gateway",
        f"sum by (host, proxy, code) (rate(haproxy_backend_http_responses_total{{{_BACKENDS}}}[5m]))",
        "Answers a second by backend and class of status. A gRPC call that a server fails is 2xx here.",
        ("host", "proxy", "code"),
    ),
    Signal(
        "tfserving:gateway_sessions:rate5m",
        "Calls to a server",
        "reqps",
        "gateway",
        of_server(f"sum by (server) (rate(haproxy_server_sessions_total{{{_JOB},{GATEWAY_PROXIES}}}[5m]))"),
        "Calls a second that gateways send to an instance.",
        ("host", "serving_instance", "server"),
    ),
    Signal(
        "tfserving:gateway_queue",
        "Calls in gateways' queues",
        "short",
        "gateway",
        f"sum by (host, proxy) (haproxy_backend_current_queue{{{_BACKENDS}}})"
        f" + sum by (host, proxy) (haproxy_server_current_queue{{{_BACKENDS}}})",
        "Calls that wait at a gateway because every server has as many as it may.",
        ("host", "proxy"),
    ),
    Signal(
        "tfserving:gateway_servers_up",
        "Servers of a backend",
        "short",
        "gateway",
        f'sum by (host, proxy) (haproxy_server_status{{{_BACKENDS},state="UP"}})',
        "Servers that a gateway would send calls to.",
        ("host", "proxy"),
    ),
    Signal(
        "tfserving:gateway_connections_ratio",
        "Connections of a gateway",
        "percentunit",
        "gateway",
        f"sum by (host) (haproxy_process_current_connections{{{_JOB}}})"
        f" / (sum by (host) (haproxy_process_max_connections{{{_JOB}}}) > 0)",
        "Connections, of those that the gateway accepts.",
        ("host",),
    ),
    Signal(
        "tfserving:gateway_busy_ratio",
        "Use of a gateway",
        "percentunit",
        "gateway",
        f"1 - min by (host) (haproxy_process_idle_time_percent{{{_JOB}}}) / 100",
        "Share of the last second in which HAProxy's thread was busy.",
        ("host",),
    ),
    Signal(
        "tfserving:gate_open",
        "Open gates",
        "bool",
        "instance",
        'max by (host, serving_instance) (tfserving_gate_open{job="node"})',
        "1 for an instance that may get calls from gateways.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:gate_held",
        "Closed gates",
        "bool",
        "instance",
        "max by (host, serving_instance, by) (label_replace("
        'tfserving_gate_info{job="node"}, "by", "$1", "kind", "(.+)"))',
        "1 for a gate that is closed, with who holds it (person, run, rollout), or else what does.",
        ("host", "serving_instance", "by"),
    ),
)

_DOWN = of_server(f'max by (server) (haproxy_server_status{{{_BACKENDS},state="DOWN"}})')

ALERTS = (
    Alert(
        "GatewayGone",
        f"up{{{_JOB}}} == 0",
        "30s",
        "page",
        "gateway",
        Threshold(
            "two scrapes fail, 30 s", "one scrape can be lost; callers of a lost gateway fail at once", sources.MAIL
        ),
        "The gateway {{ $labels.host }} does not answer.",
        "Look at haproxy.service and its journal; with keepalived another gateway has its address by now.",
    ),
    Alert(
        "GatewayBackendDown",
        f'max by (host, proxy) (haproxy_backend_status{{{_BACKENDS},state="UP"}}) == 0',
        "30s",
        "page",
        "gateway",
        Threshold("no server for 30 s", "every call of the backend fails; checks take two seconds", sources.MAIL),
        "The gateway {{ $labels.host }} has no server for {{ $labels.proxy }}.",
        "playbooks/status.yml shows servers and gates: open a gate that was left closed, or look why servers are down.",
        ("tfserving:gateway_servers_up",),
    ),
    Alert(
        "GatewayServerDown",
        f"{_DOWN} == 1 unless on (host, serving_instance) (tfserving:gate_open == 0)",
        "5m",
        "ticket",
        "instance",
        Threshold(
            "down for 5 min with an open gate",
            "the gateway cannot reach what the host calls well: network, certificates, addresses",
            sources.OWN,
        ),
        "Gateways take {{ $labels.serving_instance }} on {{ $labels.host }} for down, though its gate is open.",
        "Call it from the gateway by hand; compare certificates, firewall and ports with the plan.",
    ),
    Alert(
        "GateClosedForLong",
        f"tfserving:gate_held{{{HELD_ON_PURPOSE}}} == 1",
        "4h",
        "ticket",
        "instance",
        Threshold(
            "4 h",
            "a run or a repair takes less; what is closed for longer was mostly forgotten, and it mutes InstanceGone",
            sources.OWN,
        ),
        "The gate of {{ $labels.serving_instance }} on {{ $labels.host }} has been closed for four hours"
        " ({{ $labels.by }}).",
        "playbooks/status.yml shows who closed it and why; playbooks/undrain.yml opens it.",
    ),
    Alert(
        "GatewayQueues",
        "tfserving:gateway_queue > 0",
        "5m",
        "ticket",
        "gateway",
        Threshold(
            "calls in the queue for 5 min",
            "every server has as many calls as it may: the fleet is at its limit",
            "HAProxy, Configuration Manual, maxconn of a server",
        ),
        "{{ $value }} calls wait at the gateway {{ $labels.host }} for a server of {{ $labels.proxy }}.",
        "Add hosts or shed calls; playbooks/diagnose.yml tells overload from a slow host.",
        ("tfserving:gateway_queue",),
    ),
    Alert(
        "GatewayConnectionsNearLimit",
        f"tfserving:gateway_connections_ratio > {GATEWAY_CONNECTIONS_USED.value:g}",
        "5m",
        "ticket",
        "gateway",
        GATEWAY_CONNECTIONS_USED.threshold(f"{GATEWAY_CONNECTIONS_USED.percent} of maxconn for 5 min"),
        "The gateway {{ $labels.host }} has {{ $value | humanizePercentage }} of the connections that it accepts.",
        "See who keeps them open (/stats); raise gateway_maxconn, or add a gateway.",
        ("tfserving:gateway_connections_ratio",),
    ),
    Alert(
        "GatewayBusy",
        f"tfserving:gateway_busy_ratio > {GATEWAY_BUSY.value:g}",
        "10m",
        "ticket",
        "gateway",
        GATEWAY_BUSY.threshold(f"{GATEWAY_BUSY.percent} for 10 min"),
        "HAProxy on {{ $labels.host }} is busy {{ $value | humanizePercentage }} of the time.",
        "Let callers keep connections open (handshakes of TLS cost most), give it more threads, or add a gateway.",
        ("tfserving:gateway_busy_ratio",),
    ),
)
