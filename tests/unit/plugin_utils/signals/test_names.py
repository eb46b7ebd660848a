# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every expression asks for metrics that exist: in the collector's table, the server's, or on a recorded page."""

from __future__ import annotations

import known_metrics
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.metrics import METRICS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import table
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Objective
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table as read

OBJECTIVES = (Objective("ranker", ("dense",), 100, 0.999, None, None, None),)
ALERTS = table.alerts(OBJECTIVES)
EXPRESSIONS = {each.name: each.expr for each in (*table.SIGNALS, *ALERTS)}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_asks_for_metrics_that_exist(name):
    assert known_metrics.asked(EXPRESSIONS[name]) <= known_metrics.shown()


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ('sum by (a, b) (rate(x_total{job="y",z=~"q"}[5m])) > bool 0.5', {"x_total"}),
        (":a:b_sum * on (c) group_left (d) e:f offset 1d unless on (g) h", {":a:b_sum", "e:f", "h"}),
        ('label_replace(vector(1e6), "le", "x", "", "") or time() - m', {"m"}),
    ],
)
def test_metrics_are_told_from_labels_and_functions(expr, names):
    assert known_metrics.asked(expr) == names


@pytest.mark.parametrize(
    "name",
    [
        "tensorflow_serving_gpu_memory_used_bytes",
        "tensorflow_serving_num_in_flight_requests",
        "tensorflow_serving_model_server_request_count",
        "batch_wait_time",
    ],
)
def test_names_that_circulate_and_do_not_exist_are_unknown(name):
    assert name not in known_metrics.shown()


def test_figures_of_the_server_that_are_always_zero_are_not_asked_for():
    zero = {name for name, row in read("server_metrics").items() if row.get("always_zero")}
    assert ":tensorflow:serving:mlmd_map" in zero
    assert not zero & {name for expr in EXPRESSIONS.values() for name in known_metrics.asked(expr)}


def test_each_signal_and_each_alert_has_a_name_of_its_own():
    names = [each.name for each in (*table.CONSTANTS, *table.SIGNALS, *ALERTS)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_why_and_what_to_do(alert):
    told = (alert.summary, alert.remedy, alert.threshold.value, alert.threshold.reason, alert.threshold.source)
    assert all(told)
    assert alert.summary.endswith(".")
    assert alert.remedy.endswith(".")
    assert set(alert.signals) <= set(table.SIGNAL_BY_NAME)
    assert set(alert.signals) >= known_metrics.asked(alert.expr) & {each.name for each in table.SIGNALS} - {
        "tfserving:gate_open",
        "tfserving:gate_held",
        "tfserving:targets_up",
    }


@pytest.mark.parametrize("signal", table.SIGNALS, ids=lambda signal: signal.name)
def test_a_signal_uses_only_signals_that_are_recorded_before_it(signal):
    order = [each.name for each in table.SIGNALS]
    used = known_metrics.asked(signal.expr) & set(order)
    assert all(order.index(name) < order.index(signal.name) for name in used)


def test_a_fleet_without_objectives_has_no_alerts_on_budgets():
    assert {each.name for each in ALERTS} - {each.name for each in table.alerts(())} == {
        f"{what}Burn{how}" for what in ("Errors", "Latency") for how in ("Fast", "Steady", "Slow", "Creeping")
    }


def test_the_collector_shows_the_parts_that_rules_tell_apart_by():
    assert "exported_kind" not in {label for metric in METRICS.values() for label in metric.labels}
    assert METRICS["tfserving_gate_info"].labels == ("serving_instance", "kind")
