# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A stage is shared by the load hosts, and their results are one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options, stage

ASKED = options.read({"instance": "ranker", "seed": 3})


def histogram(**latencies: int) -> dict[str, Any]:
    found = Histogram()
    for us, count in latencies.items():
        found.record(int(us[1:]), count)
    return found.to_json()


def result(**more: Any) -> dict[str, Any]:
    return {
        "schema": 1, "engine": "own", "protocol": "grpc", "began": 100.0, "warmup_s": 1, "duration_s": 2, "rate": 5,
        "offered": 10, "sent": 10, "answered": 9, "ok": 8, "late": 1, "items": 16,
        "errors": {"timeout": 1, "connection": 1},
        "cpu": [0.2], "rss_mb": [50], "counters": None, "all": {"sent": 15, "ok": 13}, "problems": [],
        "histogram": histogram(_100=8),
        "seconds": [{"t": 0, "offered": 5, "ok": 5, "errors": 0, "late": 0, "open": 1, "histogram": histogram(_100=5)}],
        **more,
    }  # fmt: skip


def test_load_hosts_share_the_rate_and_differ_in_their_arrivals():
    found = stage.specs(ASKED, {"host": "h"}, [{"items": 1}], 900.0, 60, [4, 2, 1], seed=7)
    assert [each["rate"] for each in found] == [300.0] * 3
    assert len({each["seed"] for each in found}) == 3
    assert [each["processes"] for each in found] == [1, 1, 1]


@pytest.mark.parametrize(
    ("rate", "cores", "processes"), [(1, 8, 1), (1500, 8, 1), (1501, 8, 2), (9000, 8, 6), (99_000, 8, 8)]
)
def test_a_load_host_runs_as_few_processes_as_carry_its_rate(rate, cores, processes):
    assert stage.processes(rate, cores) == processes


def test_the_result_of_one_host_is_the_result():
    assert stage.merged([result()]) == result()


def test_results_of_several_hosts_are_added():
    other = result(began=100.4, errors={"timeout": 2}, histogram=histogram(_900=8), problems=["a sentence"], cpu=[0.5])
    found = stage.merged([result(), other])
    assert (found["offered"], found["ok"], found["rate"], found["began"]) == (20, 16, 10, 100.0)
    assert found["errors"] == {"connection": 1, "timeout": 3}
    assert found["all"] == {"sent": 30, "ok": 26}
    assert (found["cpu"], found["problems"]) == ([0.2, 0.5], ["a sentence"])
    whole = Histogram.from_json(found["histogram"])
    assert (whole.total, whole.min, whole.max) == (16, 100, 900)


def test_seconds_are_added_one_by_one():
    late = {"t": 1, "offered": 4, "ok": 3, "errors": 1, "late": 0, "open": 2, "histogram": histogram(_300=3)}
    found = stage.merged([result(), result(seconds=[*result()["seconds"], late])])["seconds"]
    assert [(each["t"], each["offered"], each["errors"], each["open"]) for each in found] == [
        (0, 10, 0, 2),
        (1, 4, 1, 2),
    ]
    assert [Histogram.from_json(each["histogram"]).total for each in found] == [10, 3]


def test_the_servers_counters_count_from_the_first_reading_to_the_last():
    first = result(counters={"before": {"OK": 100}, "after": {"OK": 180}})
    second = result(counters={"before": {"OK": 104}, "after": {"OK": 190, "UNAVAILABLE": 2}})
    found = stage.merged([first, second, result()])["counters"]
    assert found == {"before": {"OK": 100, "UNAVAILABLE": 0}, "after": {"OK": 190, "UNAVAILABLE": 2}}


def test_a_count_that_one_host_does_not_know_is_not_known():
    assert stage.merged([result(), result(late=None)])["late"] is None


def test_the_step_of_the_series_is_kept():
    assert stage.merged([result(step_s=2), result(step_s=2)])["step_s"] == 2
    assert stage.merged([result(), result()])["step_s"] == 1
