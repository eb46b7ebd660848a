# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What speaks against a measurement; each rule alone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.series import Second, seconds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.validity import Remark, is_valid, judge
from simulated_queue import from_counts, result

SECONDS = [Second(t, 200, 200, 3, from_counts({900 + t % 3: 200})) for t in range(60)]
GOOD = result(SECONDS)
COUNTED = {"before": {"OK": 100, "INTERNAL": 3}, "after": {"OK": 12_100, "INTERNAL": 3}}
SAMPLE = {"at": 0, "pid": 7, "versions": {"ranker": [7]}, "plan_digest": "a", "server_version": "2.19", "mhz": 3000}


def changed(**others: Any) -> dict[str, Any]:
    return {**GOOD, **others}


def test_a_good_measurement_has_no_remarks():
    host = {"throttled_us": 0, "psi_cpu_some_us": 0, "steal_share": 0.0, "foreign_cpu_share": 0.01}
    assert judge(changed(counters=COUNTED), host, [SAMPLE, SAMPLE]) == []
    assert judge(GOOD, {"throttled_us": None, "psi_cpu_some_us": None, "steal_share": None}) == []
    assert is_valid([])


def only(found: list[Remark]) -> Remark:
    (remark,) = found
    return remark


@pytest.mark.parametrize(
    ("others", "kind", "text"),
    [
        (
            {"cpu": [0.3, 0.71]},
            "client cpu",
            "a process of the load generator used 71% of a CPU, more than 70%: its own delays are in the latencies",
        ),
        (
            {"late": 121},
            "late",
            "121 of 12,000 requests were sent more than 1 ms late, more than 1%: the load was not the one that is"
            " stated",
        ),
        (
            {"counters": {**COUNTED, "after": {"OK": 12_000, "INTERNAL": 103}}},
            "counters",
            "the server counted 11,900 OK (and 100 INTERNAL), the client 12,000",
        ),
        (
            {"counters": {**COUNTED, "after": {"OK": 12_300, "INTERNAL": 3}}},
            "counters",
            "the server counted 12,200 requests, the client sent 12,000: 200 came from other callers",
        ),
    ],
)
def test_what_makes_figures_not_the_servers_invalidates(others, kind, text):
    remark = only(judge(changed(**others)))
    assert remark == Remark(kind, text, True)
    assert not is_valid([remark])


@pytest.mark.parametrize("others", [{"cpu": [0.7]}, {"late": 120}, {"cpu": []}])
def test_at_the_limit_nothing_is_remarked(others):
    assert judge(changed(**others)) == []


def test_the_status_calls_of_a_host_are_callers_that_do_not_matter():
    (remark,) = judge(changed(counters={**COUNTED, "after": {"OK": 12_130, "INTERNAL": 3}}))
    assert remark == Remark(
        "counters", "the server counted 12,030 requests, the client sent 12,000: 30 came from other callers"
    )


def test_answers_that_came_too_late_are_the_servers_good_ones():
    found = judge(
        changed(ok=11_990, errors={"timeout": 10}, all={"sent": 12_000, "ok": 11_990}, counters=COUNTED),
    )
    assert found == [
        Remark(
            "counters",
            "the server counted 12,000 OK, the client 11,990: the rest were answered too late, wrongly, or to other"
            " callers",
        )
    ]


@pytest.mark.parametrize(
    ("others", "kind", "text"),
    [
        ({"offered": 458, "ok": 458}, "few", "458 requests are too few for p99: it takes 459 to claim it"),
        (
            {"offered": 459, "ok": 459},
            "wide",
            "the interval of p99 is wide: with 459 requests it reaches from p98.0 to p100.0 of the sample; send 10,000"
            " or more",
        ),
        (
            {"duration_s": 59},
            "short",
            "59 s are less than 60 s: the interval does not cover what the host does once a minute",
        ),
        (
            {"ok": 11_879, "errors": {"UNAVAILABLE": 121}},
            "unanswered",
            "11,879 of 12,000 requests were answered well, less than 99%: the server does not keep up with the rate",
        ),
    ],
)
def test_what_is_to_be_kept_in_mind_does_not_invalidate(others, kind, text):
    assert judge(changed(**others)) == [Remark(kind, text)]


def test_enough_requests_and_answers_are_no_remark():
    assert judge(changed(offered=10_000, ok=9_900)) == []


@pytest.mark.parametrize(
    ("host", "kind", "text", "invalidates"),
    [
        ({"throttled_us": 660_000}, "throttled", "a CPU quota held the server up for 1.1% of the time", False),
        (
            {"psi_cpu_some_us": 6_600_000},
            "pressure",
            "for 11% of the time threads of the server waited for a CPU",
            False,
        ),
        ({"steal_share": 0.021}, "steal", "the hypervisor took 2.1% of the CPUs' time for others", False),
        ({"steal_share": 0.11}, "steal", "the hypervisor took 11.0% of the CPUs' time for others", True),
        ({"foreign_cpu_share": 0.03}, "foreign", "other processes took 3.0% of the CPUs of the instance", False),
    ],
)
def test_what_the_host_did_is_remarked(host, kind, text, invalidates):
    assert judge(GOOD, host) == [Remark(kind, text, invalidates)]


@pytest.mark.parametrize(
    "host",
    [
        {"throttled_us": 600_000},
        {"psi_cpu_some_us": 6_000_000},
        {"steal_share": 0.02},
        {"foreign_cpu_share": 0.02},
    ],
)
def test_a_host_within_its_limits_is_not(host):
    assert judge(GOOD, host) == []


@pytest.mark.parametrize(
    ("key", "value", "kind", "text"),
    [
        ("plan_digest", "b", "plan", "the plan in force changed during the measurement"),
        ("server_version", "2.20", "version", "the server was exchanged during the measurement"),
        ("pid", 8, "restart", "the server was restarted during the measurement"),
        ("versions", {"ranker": [8]}, "version", "other model versions were loaded during the measurement"),
    ],
)
def test_what_changed_meanwhile_invalidates(key, value, kind, text):
    assert judge(GOOD, None, [SAMPLE, {**SAMPLE, key: value}]) == [Remark(kind, text, True)]
    assert judge(GOOD, None, [SAMPLE, {**SAMPLE, key: None}]) == []


@pytest.mark.parametrize("mhz", [2_840, [2_500, 2_840, 3_000]])
def test_clocks_that_changed_are_remarked(mhz):
    assert judge(GOOD, None, [SAMPLE, {**SAMPLE, "mhz": mhz}]) == [
        Remark("clock", "the CPUs ran at 2,840 to 3,000 MHz during the measurement, a spread of more than 5%")
    ]
    assert judge(GOOD, None, [SAMPLE, {**SAMPLE, "mhz": 2_860}, {**SAMPLE, "mhz": "?"}]) == []


def slow(begin: int, end: int) -> list[Second]:
    return [Second(t, 200, 200, 3, from_counts({(1_000 if begin <= t < end else 900) + t % 3: 200})) for t in range(60)]


def test_a_warm_up_that_was_too_short_is_remarked():
    remark = only(judge(result(slow(0, 10))))
    assert remark == Remark(
        "warm-up", "the first 10 s after 0 s of warm-up still differ from the rest: lengthen the warm-up"
    )


def test_a_stage_that_is_never_steady_is_remarked():
    found = judge(result(slow(0, 30)))
    assert Remark("warm-up", "the stage never becomes steady: half of it differs from the other half") in found
    assert is_valid(found)  # An overloaded server is never steady, and that is its own doing.


def test_a_trend_is_remarked():
    rising = [Second(t, 200, 200, 3, from_counts({900 + t // 2: 200})) for t in range(60)]
    assert "unsteady" in [remark.kind for remark in judge(result(rising))]


def test_seconds_of_the_warm_up_and_parts_of_seconds_are_left_out():
    told = {**GOOD, "warmup_s": 5, "duration_s": 10.5}
    assert [each.t for each in seconds(told)] == list(range(5, 15))
    assert [each.t for each in seconds(told, warmup=True)] == list(range(15))


@pytest.mark.parametrize("wrong", [{"ok": "1"}, {"offered": -1}, {"open": 1.5}, {"histogram": {"schema": 9}}])
def test_seconds_that_the_generator_never_wrote_are_refused(wrong):
    with pytest.raises(ValueError, match=r"whole numbers|a histogram is"):
        seconds({**GOOD, "seconds": [{**GOOD["seconds"][0], **wrong}]})


def test_seconds_of_failed_stages_come_without_histograms():
    bare = {key: value for key, value in GOOD["seconds"][0].items() if key != "histogram"}
    assert seconds({**GOOD, "seconds": [bare, {**bare, "t": 1, "histogram": None}]})[1].histogram.total == 0
