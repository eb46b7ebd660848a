# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The console pages as the Prometheus of each distribution serves them, over an hour of a made-up fleet."""

from __future__ import annotations

import html
import re
import shutil
import time
from urllib.parse import urlencode

import browser
import prometheuses
import pytest
import running_prometheus
import seeded_fleet
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import consoles, grafana, runbook
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import ALERTS, CONSTANTS, SIGNALS

EVERY_ALERT = runbook.every(ALERTS)
RANKER = {"host": "gpu-a01", "serving_instance": "ranker"}
GPU = {"host": "gpu-a01", "gpu": "1"}
# What a person sees on each page, in the order of a drill-down: host -> instance, GPU.
SHOWN = [
    ("fleet.html", {}, ["8 of 9", "between 67 and 121 ms", "undecided", "gpu-a03", "tagger"]),
    ("host.html", {}, ["gpu-a02"]),
    ("host.html", {"host": "gpu-a01"}, ["Instances of this host", "GPUs of this host", "embedder"]),
    ("instance.html", {}, ["embedder", "tagger"]),
    ("instance.html", {"serving_instance": "ranker"}, ["ranker on all hosts", "between 67 and 121 ms"]),
    ("instance.html", RANKER, ["ranker on gpu-a01", "between 67 and 121 ms", "undecided", "AVAILABLE"]),
    ("gpu.html", {}, ["Health of GPUs"]),
    ("gpu.html", {"host": "gpu-a01"}, ["GPUs of gpu-a01", "16 of 16"]),
    ("gpu.html", GPU, ["GPU 1 of gpu-a01", "hw_slowdown"]),
    ("rollout.html", {}, ["ranker: version 7 to 8", "gpu-a01.ranker", "between 67 and 121 ms"]),
    ("alerts.html", {}, [EVERY_ALERT[0].name, "Do this:", "Runbook of"]),
]
NOWHERE = [
    ("host.html", {"host": "nowhere"}),
    ("instance.html", {"host": "nowhere", "serving_instance": "none"}),
    ("gpu.html", {"host": "nowhere", "gpu": "9"}),
]


@pytest.fixture(scope="module", params=prometheuses.PACKAGES)
def server(request, tmp_path_factory):
    series = seeded_fleet.page((*CONSTANTS, *SIGNALS), EVERY_ALERT, time.time())
    with running_prometheus.prometheus(
        request.param, tmp_path_factory.mktemp("full"), consoles.pages(), series
    ) as address:
        yield address


@pytest.fixture(scope="module", params=prometheuses.PACKAGES)
def empty_server(request, tmp_path_factory):
    with running_prometheus.prometheus(
        request.param, tmp_path_factory.mktemp("empty"), consoles.pages(), ""
    ) as address:
        yield address


def page(server, file, asked):
    status, text = running_prometheus.got(f"{server}/consoles/{file}?{urlencode(asked)}")
    assert status == 200, text
    return text


def words(markup):
    """Return what a page says to people."""
    main = re.sub(r"<(script|style)>.*?</\1>", "", markup, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", main)).split())


@pytest.mark.parametrize(("file", "asked", "shown"), SHOWN)
def test_a_page_shows_the_fleet(server, file, asked, shown):
    said = words(page(server, file, asked))
    assert [each for each in shown if each not in said] == []


@pytest.mark.parametrize(("file", "asked", "shown"), SHOWN)
def test_every_query_of_a_chart_is_answered_with_series(server, file, asked, shown):
    markup = page(server, file, asked)
    queries = [html.unescape(each) for each in re.findall(r'data-(?:query|high|goal)="([^"]*)"', markup)]
    assert queries or file in ("alerts.html",) or not asked
    assert [each for each in queries if not running_prometheus.asked(server, each)] == []


def test_every_query_of_grafana_is_answered(server):
    chosen = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}
    chosen |= {"$serving_instance": ".+", "$host": ".+", "$gpu": ".+"}
    for board in grafana.dashboards().values():
        for expr in (target["expr"] for panel in board["panels"] for target in panel.get("targets", ())):
            for name, value in chosen.items():
                expr = expr.replace(name, value)
            running_prometheus.asked(server, expr)


def test_a_link_leads_from_the_fleet_to_a_host_and_from_there_to_an_instance(server):
    first = re.findall(r'href="(host\.html\?[^"]*gpu-a01[^"]*)"', page(server, "fleet.html", {"range": "6h"}))
    status, host = running_prometheus.got(f"{server}/consoles/{html.unescape(first[0])}")
    assert status == 200
    assert 'data-range="6h"' in host
    second = re.findall(r'href="(instance\.html\?[^"]*ranker[^"]*)"', host)
    _status, instance = running_prometheus.got(f"{server}/consoles/{html.unescape(second[0])}")
    assert "<h1>ranker on gpu-a01</h1>" in instance


@pytest.mark.parametrize("value", ['"} or vector(1) #', "</script><script>x</script>", "a\\", "`", "$host", "%q", "\n"])
def test_what_an_address_says_is_shown_as_text_and_is_one_text_in_a_query(server, value):
    markup = page(server, "instance.html", {"host": value, "serving_instance": value, "range": value})
    assert "<script>x" not in markup
    assert 'data-range="1h"' in markup
    for query in re.findall(r'data-query="([^"]*)"', markup):
        assert running_prometheus.asked(server, html.unescape(query)) == []


def test_a_name_out_of_an_address_of_the_server_is_shown_as_text(server):
    markup = page(server, "alerts.html", {})
    assert seeded_fleet.HOSTILE not in markup
    assert html.escape(seeded_fleet.HOSTILE, quote=False) in html.escape(html.unescape(markup), quote=False)


@pytest.mark.parametrize(("file", "asked"), NOWHERE)
def test_what_nobody_measures_is_no_data_and_never_green(server, file, asked):
    markup = page(server, file, asked)
    assert "no data" in words(markup)
    # That no alert fires there is known: the rules are evaluated.
    assert set(re.findall(r'<span class="pill good">([^<]*)</span>', markup)) <= {"none"}


@pytest.mark.parametrize("file", consoles.PAGES)
def test_a_server_that_knows_nothing_shows_nothing_green(empty_server, file):
    markup = page(empty_server, file, {})
    assert "pill good" not in markup
    assert "no data" in words(markup) or file == "rollout.html"


def test_silence_of_rules_that_are_not_evaluated_is_no_health(empty_server):
    said = words(page(empty_server, "alerts.html", {}))
    assert "nothing says that the rules are evaluated" in said
    assert "No alert fires" not in said


IN_A_BROWSER = pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium on this machine")
# The script is the same everywhere; oldest and newest server of Debian.
OF_DEBIAN = pytest.mark.parametrize("server", [prometheuses.BOOKWORM, prometheuses.TRIXIE], indirect=True)


@IN_A_BROWSER
@OF_DEBIAN
@pytest.mark.parametrize(
    ("file", "asked"), [(file, asked) for file, asked, _shown in SHOWN if asked in ({}, RANKER, GPU)]
)
def test_a_browser_draws_every_chart_and_complains_of_nothing(server, file, asked):
    drawn, complaints = browser.read(f"{server}/consoles/{file}?{urlencode(asked)}")
    assert complaints == []
    assert drawn.count('data-ready="yes"') == drawn.count('<figure class="chart"')
    assert "<title>run</title>" not in drawn
    plots = re.findall(r'<div class="plot">(.*?)</figure>', drawn, re.DOTALL)
    assert [each[:200] for each in plots if 'role="img"' not in each] == []


def chart(drawn, title):
    """Return what a chart says: its description, the names in its picture, and its legend."""
    found = re.search(rf'<figure [^>]*data-title="{title}".*?</figure>', drawn, re.DOTALL)
    return words(found[0])


@IN_A_BROWSER
@OF_DEBIAN
def test_a_chart_says_between_which_limits_p99_lies_and_what_was_promised(server):
    drawn, _complaints = browser.read(f"{server}/consoles/fleet.html")
    said = chart(drawn, "p99")
    assert "ranker between 67 and 121 ms 67.5 ms 121 ms" in said
    assert "objective of ranker" in said
    assert "embedder undecided" not in chart(drawn, "Verdict on the objective")
    assert "ranker undecided undecided undecided" in chart(drawn, "Verdict on the objective")


@IN_A_BROWSER
@OF_DEBIAN
def test_a_series_that_has_ended_is_no_data_now(server):
    drawn, _complaints = browser.read(f"{server}/consoles/instance.html?host=gpu-a03&serving_instance=tagger")
    assert "tagger on gpu-a03 no data " in chart(drawn, "Calls")
    assert chart(drawn, "Mean time of execution").endswith("no data")
