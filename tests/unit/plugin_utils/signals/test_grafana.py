# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Grafana's dashboards keep the rules of grafana/dashboard-linter (docs/index.md there), and lead one step down."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import grafana
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Signal
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import CONSTANTS, SIGNALS
from repository import REPOSITORY

DASHBOARDS = grafana.dashboards()
PANELS = [
    pytest.param(panel, id=f"{uid}-{panel['id']}")
    for uid, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
RECORDED = {signal.name: signal for signal in (*CONSTANTS, *SIGNALS)}


def exprs(panel):
    return [target["expr"] for target in panel["targets"]]


def test_there_is_a_dashboard_for_the_fleet_a_host_an_instance_and_a_gpu():
    assert list(DASHBOARDS) == [f"tfserving-{name}" for name in ("fleet", "host", "instance", "gpu")]
    assert all(any(panel["type"] != "row" for panel in board["panels"]) for board in DASHBOARDS.values())


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_data_source_job_and_instance_are_variables(uid):
    variables = {each["name"]: each for each in DASHBOARDS[uid]["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name, label in (("job", "Job"), ("instance", "Instance")):
        found = variables[name]
        assert (found["type"], found["label"], found["allValue"]) == ("query", label, ".+")
        assert (found["multi"], found["includeAll"], found["datasource"]["uid"]) == (True, True, "${datasource}")
        # On every change of the time range, or hosts of yesterday are not to be chosen.
        assert found["refresh"] == 2


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_dashboard_is_not_changed_in_the_browser_and_its_panels_do_not_overlap(uid):
    board = DASHBOARDS[uid]
    assert board["editable"] is False
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_a_title_a_description_a_unit_and_the_data_source_of_the_variable(panel):
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["noValue"] == "no data"
    assert {each["datasource"]["uid"] for each in (panel, *panel["targets"])} == {"${datasource}"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_query_selects_exported_metrics_by_job_and_instance_over_the_rate_interval(panel):
    for expr in exprs(panel):
        assert not re.search(r"\[\d+[smhd]\]", expr)
        recorded = re.fullmatch(r"(tfserving:[\w:]+)(\{.*\})?", expr)
        if recorded:
            # A rule has recorded it without job and instance, for everyone at the same interval.
            assert recorded[1] in RECORDED
            continue
        selectors = re.findall(r"\{([^}]*)\}", expr)
        assert selectors
        for each in selectors:
            assert 'job=~"$job", instance=~"$instance"' in each


@pytest.mark.parametrize("panel", PANELS)
def test_no_panel_shows_one_edge_of_a_bracket_or_an_interpolated_percentile(panel):
    edges = re.findall(r"(?<![a-z])(low|high)(?![a-z])", " ".join(exprs(panel)))
    assert sorted(edges) in ([], ["high", "low"])
    assert "histogram_quantile" not in " ".join(exprs(panel))


def test_a_series_leads_to_the_dashboard_of_its_instance():
    panel = next(each for each in DASHBOARDS["tfserving-fleet"]["panels"] if each["title"] == "p99")
    (link,) = panel["fieldConfig"]["defaults"]["links"]
    assert link["url"] == (
        "/d/tfserving-instance?var-serving_instance=${__field.labels.serving_instance}&${__url_time_range}"
    )


def signal(expr):
    return Signal("tfserving:x", "X", "s", "host", expr, "X.", ("host",))


@pytest.mark.parametrize(
    ("expr", "asked"),
    [
        ("up", 'up{job=~"$job", instance=~"$instance", host=~"$host"}'),
        (
            'sum by (up) (rate(:tensorflow:serving:request_count{status!="up"}[5m]))',
            "sum by (up) (rate(:tensorflow:serving:request_count"
            '{status!="up", job=~"$job", instance=~"$instance", host=~"$host"}[$__rate_interval]))',
        ),
        ("tfserving:y / tfserving:z", 'tfserving:x{host=~"$host"}'),
        ('label_replace(up, "host", "$1", "server", "(.*)")', 'tfserving:x{host=~"$host"}'),
        ("", 'tfserving:x{host=~"$host"}'),
    ],
)
def test_what_is_made_of_signals_is_asked_for_as_recorded(expr, asked):
    assert grafana.query(signal(expr), ("host",)) == asked


def test_provisioning_finds_dashboards_and_names_no_server():
    folder = REPOSITORY / "roles/monitoring/files/grafana/provisioning"
    source = yaml.safe_load((folder / "datasources/tfserving.yml").read_text(encoding="utf-8"))["datasources"][0]
    assert source["url"] == "$TFSERVING_PROMETHEUS_URL"
    provider = yaml.safe_load((folder / "dashboards/tfserving.yml").read_text(encoding="utf-8"))["providers"][0]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards/tfserving")
