# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Calls: how many, how many fail, and whether instances that have work complete any.

The server counts status requests of probes as calls, so counts of calls leave them out: successful ones are taken from
the latency histogram, where ``API`` tells them apart, and only failures from ``request_count``.
"""

from __future__ import annotations

from .. import sources
from ..model import MODELS, Alert, Signal, Threshold

# Failures of the server. The others (INVALID_ARGUMENT, NOT_FOUND, CANCELLED, ...) say that a caller asked for something
# that is wrong; a planned model that is missing has an alert of its own.
SERVER_FAULTS = (
    "UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE"
    "|DATA_LOSS"
)
_HERE = "(host, serving_instance)"
# How backends are named: PROTOCOL_MODEL, and behind it an arm, a version or a label. A model's own name may end like
# one of these, or begin with tcp_, so only the plans tell where it begins and ends.
MODEL_OF_PROXY = f"(?:rest|grpc)_({MODELS})(?:_canary|_control|_v[0-9]+|_label_.+)?"
# The calls of models that pass a gateway; connections passed on whole (grpc_tcp_INSTANCE) show no calls.
GATEWAY_PROXIES = f'proxy=~"{MODEL_OF_PROXY}"'
# Gates that planned work has closed. What an instance then lacks is no fault; GateClosedForLong reports forgotten ones.
HELD_ON_PURPOSE = 'by=~"person|run|rollout"'
# HOST.INSTANCE, the name of a server in HAProxy, as the labels that everything else has.
_OF_SERVER = (
    'label_replace(label_replace({expr}, "host", "$1", "server", "(.+)\\\\.[^.]+"),'
    ' "serving_instance", "$1", "server", ".+\\\\.([^.]+)")'
)


def of_server(expr: str) -> str:
    """Return an expression by ``server`` with the labels ``host`` and ``serving_instance`` of those servers instead."""
    return _OF_SERVER.format(expr=expr)


def _both(successes: str, failures: str) -> str:
    """Return the sum of two rates, or the one that there is: a server has no series of what never happened to it."""
    return f"{successes} + ({failures} or {successes} * 0) or {failures}"


SIGNALS = (
    Signal(
        "tfserving:requests:rate5m",
        "Requests by status",
        "reqps",
        "instance",
        "sum by (host, serving_instance, model_name, status)"
        ' (rate(:tensorflow:serving:request_count{job="tfserving"}[5m]))',
        "Requests a second by the server's own count, with status requests of probes that came over REST.",
        ("host", "serving_instance", "model_name", "status"),
    ),
    Signal(
        "tfserving:calls:rate5m",
        "Calls",
        "reqps",
        "instance",
        _both(
            f'sum by {_HERE} (tfserving:latency_bucket:rate5m{{le="+Inf"}})',
            f'sum by {_HERE} (tfserving:requests:rate5m{{status!="OK"}})',
        ),
        "Predictions a second, successful or not, without status requests.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:errors:rate5m",
        "Failed calls",
        "reqps",
        "instance",
        "sum by (host, serving_instance, model_name)"
        f' (tfserving:requests:rate5m{{status=~"{SERVER_FAULTS}"}})'
        " or sum by (host, serving_instance, model_name) (tfserving:requests:rate5m) * 0",
        "Calls a second that failed by the server's fault; those that asked for something wrong are not among them.",
        ("host", "serving_instance", "model_name"),
    ),
    Signal(
        "tfserving:error_ratio:rate5m",
        "Share of failed calls",
        "percentunit",
        "instance",
        "sum by (serving_instance, model_name) (tfserving:errors:rate5m)"
        " / (sum by (serving_instance, model_name) (tfserving:requests:rate5m) > 0)",
        "Share of the requests of a model that failed by the server's fault, over all hosts.",
        ("serving_instance", "model_name"),
    ),
    Signal(
        "tfserving:completed:rate2m",
        "Completed calls",
        "reqps",
        "instance",
        _both(
            f'sum by {_HERE} (rate(:tensorflow:serving:request_latency_count{{job="tfserving",API!=""}}[2m]))',
            f'sum by {_HERE} (rate(:tensorflow:serving:request_count{{job="tfserving",status!="OK"}}[2m]))',
        ),
        "Calls a second that came to an end, over two minutes: 0 of an instance that has work means that it hangs.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:gateway_waiting",
        "Calls at an instance",
        "short",
        "instance",
        of_server(f'sum by (server) (haproxy_server_current_sessions{{job="haproxy",{GATEWAY_PROXIES}}})'),
        "Calls that gateways have sent to an instance and that it has not answered.",
        ("host", "serving_instance", "server"),
    ),
)

_STUCK = f"unless on {_HERE} (tfserving:completed:rate2m > 0)"

ALERTS = (
    Alert(
        "InstanceGone",
        f'up{{job="tfserving"}} == 0 unless on {_HERE} tfserving:gate_held{{{HELD_ON_PURPOSE}}}',
        "30s",
        "page",
        "instance",
        Threshold(
            "two scrapes fail, 30 s",
            "one scrape can be lost; two are 30 s, so that the mail arrives within two minutes of the failure",
            sources.MAIL,
        ),
        "{{ $labels.serving_instance }} on {{ $labels.host }} does not answer, and nobody has closed its gate.",
        "Look at the unit (systemctl status tfserving@{{ $labels.serving_instance }}) and its journal; gateways send"
        " it no calls meanwhile. playbooks/diagnose.yml names the cause.",
    ),
    Alert(
        "InstanceHangs",
        "max by (host, serving_instance) (min_over_time(tfserving:gateway_waiting[2m])) > 0"
        f' and on {_HERE} (up{{job="tfserving"}} == 1) {_STUCK}',
        "30s",
        "page",
        "instance",
        Threshold(
            "calls wait for 2 min and none ends",
            "the longest call that the server allows over REST takes 30 s by default, so that four of them in a row"
            " would have had to fail without a trace",
            "rest_api_timeout_in_ms of the server; tensorflow/serving#1786",
        ),
        "{{ $labels.serving_instance }} on {{ $labels.host }} has {{ $value }} calls and has ended none for two"
        " minutes: it hangs.",
        "Keep the evidence first (playbooks/diagnose.yml takes two samples of all threads), then restart the instance.",
        ("tfserving:gateway_waiting", "tfserving:completed:rate2m"),
    ),
    Alert(
        "InstanceBusyWithoutAnswers",
        f'sum by {_HERE} (rate(tfserving_instance_run_seconds_total{{job="node"}}[5m])) > 0.5'
        f' and on {_HERE} (up{{job="tfserving"}} == 1) {_STUCK}'
        f" unless on {_HERE} (sum by {_HERE}"
        ' (rate(:tensorflow:cc:saved_model:load_attempt_count{job="tfserving"}[10m])) > 0)',
        "5m",
        "page",
        "instance",
        Threshold(
            "0.5 CPUs for 5 min and no call ends",
            "an idle server takes a few hundredths of a CPU; one that loads a model is left out",
            "tensorflow/serving#1265: full CPU for an hour after its callers had left",
        ),
        '{{ $labels.serving_instance }} on {{ $labels.host }} takes {{ printf "%.1f" $value }} CPUs and ends no'
        " call: work that nobody waits for, or a call that never ends.",
        "Keep the evidence (playbooks/diagnose.yml), then restart the instance; bound what callers may send.",
        ("tfserving:completed:rate2m",),
    ),
    Alert(
        "InstanceRestarts",
        'sum by (host, serving_instance) (increase(tfserving_instance_restarts_total{job="node"}[15m])) > 0.5',
        "0s",
        "ticket",
        "instance",
        Threshold("once", "a server that runs well never ends by itself", "systemd.service(5), Restart="),
        "{{ $labels.serving_instance }} on {{ $labels.host }} ended and was started again.",
        "Read why in its journal (journalctl -u tfserving@{{ $labels.serving_instance }}): a crash, the kernel's"
        " out-of-memory killer, or a file that it cannot use.",
    ),
    Alert(
        "InstanceRestartsAgain",
        'sum by (host, serving_instance) (increase(tfserving_instance_restarts_total{job="node"}[15m])) > 3',
        "0s",
        "page",
        "instance",
        Threshold("3 in 15 min", "one restart can be an accident; this one fails again each time", sources.OWN),
        '{{ $labels.serving_instance }} on {{ $labels.host }} was started {{ printf "%.0f" $value }} times within a'
        " quarter of an hour.",
        "Take it out of rotation (playbooks/drain.yml), read its journal, and go back to what ran before"
        " (playbooks/rollback.yml, playbooks/server_rollback.yml).",
    ),
    Alert(
        "InstanceWithoutTargets",
        'tfserving:objective:p99_seconds unless on (serving_instance) up{job="tfserving"}',
        "1m",
        "page",
        "fleet",
        Threshold(
            "no target for 1 min",
            "a target that is missing makes no series, so nothing else would report it",
            sources.ABSENCE,
        ),
        "No host is scraped for {{ $labels.serving_instance }}, which the plans of the fleet have.",
        "Run playbooks/monitoring.yml, which writes the targets; look at /targets of Prometheus if it changes nothing.",
    ),
)
