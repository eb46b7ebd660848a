# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which signals have charts, with which thresholds, and how a name becomes part of a query."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import gotext, layout, tables
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Alert, Signal, Threshold
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import ALERTS, SIGNALS


def signal(name, **changed):
    values = {"title": "T", "unit": "s", "scope": "fleet", "expr": "x", "help": "H.", "labels": ("host",)}
    return Signal(name=name, **{**values, **changed})


def alert(expr, name="TooMuch"):
    return Alert(name, expr, "5m", "page", "fleet", Threshold("5 %", "so", "us"), "S.", "R.")


LOW = signal("tfserving:p99_low_seconds", title="p99 at least", help="Low.")
HIGH = signal("tfserving:p99_high_seconds", title="p99 at most", help="High.")


def test_the_edges_of_a_bracket_are_one_chart():
    (only,) = layout.panels([LOW, HIGH], [], ["fleet"])
    assert (only.signal, only.high, only.title) == (LOW, HIGH.name, "p99")
    assert only.help == ("Lies within the band, nobody can say where. Its lower edge: Low. Its upper edge: High.")


def test_no_chart_of_the_table_shows_one_edge_alone_or_a_bucket():
    for scope in {each.scope for each in SIGNALS}:
        for panel in layout.panels(SIGNALS, (), [scope]):
            assert "le" not in panel.signal.labels
            assert not layout.LOW.search(panel.signal.name) or panel.high, panel.signal.name
            assert "high" not in panel.signal.name.replace(":", "_").split("_"), panel.signal.name


def test_no_signal_of_the_table_is_an_interpolated_percentile():
    assert not [each.name for each in SIGNALS if "histogram_quantile" in each.expr]


@pytest.mark.parametrize(
    ("expr", "at"),
    [
        ("tfserving:x > 0.05", 0.05),
        ('tfserving:x{window="1h"} >= 14.4 and tfserving:y > 3', 14.4),
        ("tfserving:x < 30 * 86400", 2592000),
        ("tfserving:x > bool 2e-3", 0.002),
    ],
)
def test_a_threshold_is_drawn_where_the_alert_fires(expr, at):
    assert layout.lines("tfserving:x", [alert(expr)]) == (layout.Line(at, "TooMuch"),)


def test_of_a_signal_over_several_windows_one_is_drawn_with_its_own_thresholds():
    burn = signal("tfserving:burn", title="Burn", labels=("serving_instance", "window"))
    alerts = [alert('tfserving:burn{window="1h"} > 14.4'), alert('tfserving:burn{window="3d"} > 1', "Creeping")]
    (panel,) = layout.panels([burn], alerts, ["fleet"])
    assert (panel.title, panel.matchers, panel.legend) == ("Burn, over 1h", ('window="1h"',), ("serving_instance",))
    assert panel.lines == (layout.Line(14.4, "TooMuch"),)


@pytest.mark.parametrize("expr", ["tfserving:x > tfserving:limit", "tfserving:xy > 5", "5 < up"])
def test_what_is_no_figure_of_the_signal_is_no_line(expr):
    assert layout.lines("tfserving:x", [alert(expr)]) == ()


def test_a_name_of_a_page_is_one_text_in_a_query_whatever_it_holds():
    assert gotext.text('up{host=$host, job="a%"}') == '(printf `up{host=%q, job="a%%"}` $host)'
    assert gotext.text("up") == "`up`"
    with pytest.raises(ValueError, match="no backtick"):
        gotext.text("up{a=`b`}")


def test_series_are_selected_by_the_labels_that_they_have():
    assert gotext.matchers(("host", "entrypoint"), ("host", "serving_instance")) == "{host=$host}"
    assert gotext.matchers(("gpu",), ("host",)) == ""


def test_every_row_of_a_table_has_every_cell():
    table = tables.Table(
        "T", ("host",), "up", (tables.Column("A", "s", "a"), tables.Column("B", "s", "b", "max")), "none"
    )
    base = "group by (host) (up)"
    assert table.query == (
        f'`label_replace((sum by (host) (a) and {base}) or ({base} * NaN), "column", "01", "", "")'
        f' or label_replace((max by (host) (b) and {base}) or ({base} * NaN), "column", "02", "", "")`'
    )


def test_every_alert_of_the_table_has_a_severity_that_pages_know():
    assert {each.severity for some in ALERTS.values() for each in some} == {"page", "ticket"}


def test_signals_of_what_is_served_and_of_hosts_stand_in_their_rows():
    rows = {name: layout.red(signal(name)) for name in ("tfserving:requests:rate5m", "tfserving:error_ratio:rate5m")}
    assert rows == {"tfserving:requests:rate5m": "Rate", "tfserving:error_ratio:rate5m": "Errors"}
    assert layout.red(LOW) == "Duration"
    assert layout.use(signal("tfserving:slice_pressure_ratio")) == "Saturation"
    assert layout.use(signal("tfserving:disk_free_ratio")) == "Utilisation"
    assert layout.use(signal("tfserving:clock_offset_seconds")) == "Errors and state"
