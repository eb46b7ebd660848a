# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages that the bench of monitoring replays, and what it reads of Prometheus; the rest is tried by running it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import promtools
import pytest

BENCHES = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCHES.parents[1] / "collections"))

from support import prometheus_figures, scraped_pages  # noqa: E402
from support.collection import part  # noqa: E402
from support.replayed_pages import Replay  # noqa: E402
from support.scraped_pages import Page, Series, Shape  # noqa: E402
from support.watched_fleet import WatchedFleet  # noqa: E402

SMALL = Shape(cpus=4, gpus=1, instances=("ranker",), models=2)
PAGES = {
    "node": scraped_pages.node(SMALL),
    "server": scraped_pages.server(["ranker-0", "ranker-1"]),
    "gateway": scraped_pages.gateway(["gpu-1", "gpu-2"], SMALL),
    "alertmanager": scraped_pages.alertmanager(),
}
# Of each target Prometheus records five series: up, and four about the scrape.
OF_A_SCRAPE = 5


def values(page, number):
    return {each.text: float(value) for each, value in page.values(number)}


@pytest.mark.parametrize("kind", PAGES)
def test_no_series_is_on_a_page_twice(kind):
    texts = [each.text for each in PAGES[kind]]
    assert sorted(texts) == sorted(set(texts))


@pytest.mark.parametrize("kind", PAGES)
def test_promtool_reads_a_page(kind):
    text = Page(PAGES[kind], 15).text(3)
    command = [promtools.program(promtools.TRIXIE), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    # 3 is for names that it would choose otherwise.
    assert done.returncode in (0, 3), done.stderr
    assert "error while linting" not in done.stderr


@pytest.mark.parametrize("kind", PAGES)
def test_counts_never_fall_and_many_of_them_grow(kind):
    page = Page(PAGES[kind], 15)
    counts = [each.text for each in page.series if each.course in ("count", "clock", "six")]
    first, second, third = (values(page, number) for number in (1, 2, 3))
    assert [each for each in counts if not first[each] <= second[each] <= third[each]] == []
    assert len([each for each in counts if first[each] < third[each]]) > 0.9 * len(counts)


def test_the_buckets_of_a_histogram_hold_more_the_slower_they_are():
    found = values(Page(PAGES["server"], 15), 4)
    name = ':tensorflow:serving:request_latency_bucket{model_name="ranker-0",API="Predict",entrypoint="GRPC",'
    counts = [value for text, value in found.items() if text.startswith(name)]
    assert len(counts) == 34
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[10] < counts[-1] == found[re.sub("_bucket", "_count", name).rstrip(",") + "}"]


def test_pages_have_all_names_of_the_tables_and_of_the_recorded_page():
    shown = {re.split("[{ ]", each.text)[0] for each in PAGES["node"]}
    planned = set(part("module_utils.collector.metrics").METRICS)
    # What an open gate and a fleet without a roll-out do not show.
    assert planned - shown == {"tfserving_gate_info", "tfserving_rollout_info", "tfserving_rollout_share_ratio"}
    recorded = {each for each in scraped_pages.names("haproxy-3.0.11") if not each.startswith("haproxy_resolver")}
    assert {re.split("[{ ]", each.text)[0] for each in PAGES["gateway"]} == recorded


SHAPES = [
    Shape(),
    Shape(models=10),
    Shape(cpus=16, gpus=0, instances=("ranker",)),
    Shape(cpus=128, gpus=8, instances=("a", "b", "c", "d")),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_serving_host_has_no_more_series_than_planned_and_a_quarter_less_at_most(shape):
    sizes = part("plugin_utils.monitoring.sizes")
    pages = [scraped_pages.node(shape), *(scraped_pages.server(shape.models_of(each)) for each in shape.instances)]
    found = sum(len(page) + OF_A_SCRAPE for page in pages)
    host = WatchedFleet(shape, 1, 0, 9090).fleet.serving
    planned, _formula = sizes.series(host, 0, 0, 0)
    planned -= sizes.RECORDED * len(shape.instances)
    assert 0.75 * planned <= found <= planned


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hosts", [1, 3, 20])
def test_a_gateway_has_no_more_series_than_planned_and_a_third_less_at_most(shape, hosts):
    sizes = part("plugin_utils.monitoring.sizes")
    fleet = WatchedFleet(shape, hosts, 1, 9090)
    found = len(scraped_pages.gateway(fleet.serving, shape)) + OF_A_SCRAPE
    planned = sizes.series(fleet.fleet.serving, 0, 1, 0)[0] - sizes.series(fleet.fleet.serving, 0, 0, 0)[0]
    assert 0.67 * planned <= found <= planned


def test_a_host_that_serves_nothing_has_no_more_series_than_planned():
    found = len(scraped_pages.node(Shape(cpus=32, gpus=0, instances=()))) + OF_A_SCRAPE
    assert 0.9 <= found / part("plugin_utils.monitoring.sizes").series({}, 1, 0, 0)[0] <= 1


ROW = re.compile(
    r"\| (\d+) hosts of (\d+) CPUs, (\d+) GPUs and (\d) instances?; (\d) gateways"
    r" \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) MB \| ([\d.]+) GB \| ([\d.]+) GB \|"
)


def test_the_documented_sizes_are_those_that_a_run_prints():
    rows = ROW.findall((BENCHES.parents[1] / "docs/monitoring.md").read_text(encoding="utf-8"))
    assert [row[0] for row in rows] == ["2", "8", "50", "200"]
    for *fleet, series, rate, day, disk, memory in rows:
        hosts, cpus, gpus, instances, gateways = map(int, fleet)
        shape = Shape(cpus=cpus, gpus=gpus, instances=("ranker", "embedder")[:instances])
        found = WatchedFleet(shape, hosts, gateways, 9090).plan["sizes"]
        told = (found["series"], found["samples_per_second"], found["disk_mb_a_day"])
        assert told == tuple(int(each.replace(",", "")) for each in (series, rate, day))
        assert (f"{found['disk_mb'] / 1024:.1f}", f"{found['memory_mb'] / 1024:.1f}") == (disk, memory)


def test_each_scrape_of_a_target_gets_the_next_text_and_targets_of_one_kind_share_it():
    page = Page([Series("calls_total", "count", 100)], 15)
    one, other = ("127.80.1.1", 1, "/metrics"), ("127.80.1.2", 1, "/metrics")
    replay = Replay({one: page, other: page})
    first, second = replay.answer(one), replay.answer(one)
    assert first.endswith(page.text(1).encode())
    assert second.endswith(page.text(2).encode())
    assert replay.least() == 0
    assert replay.answer(other) == first
    assert replay.least() == 1


def test_a_call_for_no_page_is_answered_as_an_alertmanager_does():
    assert Replay({}).answer(("127.80.0.1", 29093, "/api/v2/alerts")).startswith(b"HTTP/1.1 200 OK")


def test_the_server_of_the_pages_answers_several_calls_of_one_connection():
    async def called():
        page = Page([Series("up", "still", 1)], 15)
        replay = Replay({})
        server = await asyncio.start_server(replay.serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        replay.targets = {(*address, "/metrics"): page}
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /api/v2/alerts HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]" + b"GET /metrics HTTP/1.1\r\n\r\n")
        writer.write_eof()
        said = await reader.read()
        writer.close()
        server.close()
        return said

    said = asyncio.run(called())
    assert said.count(b"200 OK") == 2
    assert said.endswith(b"# TYPE up gauge\nup 1\n")


PAGE = """\
# HELP prometheus_tsdb_head_series Total number of series in the head block.
# TYPE prometheus_tsdb_head_series gauge
prometheus_tsdb_head_series 18929
prometheus_tsdb_head_samples_appended_total{type="float"} 1.5e+06
prometheus_tsdb_head_samples_appended_total{type="histogram"} 0
prometheus_rule_group_iterations_total{rule_group="/x/rules/tfserving-alerts.yml;tfserving-slo"} 3
prometheus_rule_group_iterations_total{rule_group="/x/rules/tfserving-recording.yml;tfserving"} 2
prometheus_rule_group_iterations_missed_total{rule_group="/x/rules/tfserving-recording.yml;tfserving"} 1
prometheus_rule_group_last_duration_seconds{rule_group="/x/rules/tfserving-recording.yml;tfserving"} 0.25
process_resident_memory_bytes 1.048576e+08
"""


def test_the_figures_of_prometheus_are_read_from_its_page():
    found = prometheus_figures.parsed(PAGE, 7.0)
    assert (found.at, found.series, found.samples, found.resident) == (7.0, 18929, 1.5e6, 100 * 2**20)
    assert (found.least_iterations, found.missed, found.rules) == (2, 1, {"tfserving": 0.25})


def test_a_server_without_rules_has_evaluated_none():
    assert prometheus_figures.parsed("", 1.0).least_iterations == 0
