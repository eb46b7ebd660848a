# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a call goes, with known answers."""

from __future__ import annotations

import evidence_cases as cases
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import budget, latencies
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import page as budget_page
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case

# What TRAFFIC says of ranker: runs of 7 ms (half), 9 ms (four tenths) and 16 ms (a tenth).
EXECUTION_MS = 0.5 * 7 + 0.4 * 9 + 0.1 * 16


def of(evidence=None, name="ranker", client=None, gateways=()):
    case = Case(evidence or cases.healthy(), client={name: client} if client else {}, gateways=gateways)
    return budget.budgets(case, case.instance(name))


def test_the_server_alone_tells_three_parts_that_make_up_its_time():
    grpc, _rest = of()
    assert (grpc.entrypoint, grpc.requests, grpc.seen_by) == ("GRPC", 3600, "server")
    assert grpc.execution == pytest.approx(EXECUTION_MS, rel=0.01)
    assert grpc.queue == pytest.approx(2.0, rel=0.01)
    assert grpc.overhead == pytest.approx(0.3, abs=0.02)
    assert (grpc.gateway, grpc.transport) == (None, None)
    assert grpc.whole == pytest.approx(EXECUTION_MS + 2.3, rel=0.01)
    assert grpc.adds_up


def test_rest_has_an_overhead_of_its_own():
    _grpc, rest = of()
    assert rest.entrypoint == "REST"
    assert rest.overhead == pytest.approx(1.2, abs=0.05)
    assert rest.execution == pytest.approx(EXECUTION_MS, rel=0.02)


def test_calls_that_join_the_batches_of_others_take_nothing_from_the_overhead_of_those():
    # Each call by REST begins a batch and waits 300 ms; those by gRPC join on their way and wait 150 ms on average.
    page, labels = {}, {"model_name": "ranker"}
    for entrypoint, api, us, calls in (("REST", "predict", 303_000, 20), ("GRPC", "Predict", 152_000, 40)):
        cases.histogram(page, budget_page.LATENCY, {**labels, "API": api, "entrypoint": entrypoint}, {us: calls})
    runs = {302_000: 20, 152_000: 40}
    cases.histogram(page, budget_page.RUNTIME, {**labels, "API": "Predict", "runtime": "TF1"}, runs)
    cases.histogram(page, budget_page.QUEUEING, {"thread_pool_name": ""}, {300_000: 20, 150_000: 40})
    evidence = cases.put(cases.healthy(), "samples/0/instances/ranker/metrics", {})
    grpc, rest = of(cases.put(evidence, "samples/1/instances/ranker/metrics", page))
    assert (rest.entrypoint, rest.execution, grpc.execution) == ("REST", pytest.approx(2), pytest.approx(2))
    assert (rest.overhead, grpc.overhead) == (pytest.approx(1), 0)
    assert (rest.queue, grpc.queue) == (pytest.approx(300), pytest.approx(150))


def test_a_probe_and_a_gateway_tell_the_rest():
    gateway = cases.gateway()
    for sample in gateway["gateway"]["stats"]:
        sample["backends"]["ranker"]["servers"]["a1.ranker"].update(rtime=12, ttime=14)
    client = {"mean_ms": 15.0, "via": "gateway", "entrypoint": "grpc"}
    grpc, rest = of(client=client, gateways=[gateway])
    assert (grpc.seen_by, grpc.whole, grpc.gateway) == ("client", 15.0, 2.0)
    assert grpc.transport == pytest.approx(15 - 2 - EXECUTION_MS - 2.3, abs=0.1)
    assert sum(part for part in grpc.parts.values() if part is not None) + grpc.rest == pytest.approx(grpc.whole)
    assert grpc.adds_up
    # Nobody has probed REST.
    assert (rest.seen_by, rest.whole) == ("gateway", 14.0)


def test_a_probe_past_the_gateways_spends_no_time_in_one():
    grpc, _rest = of(client={"mean_ms": 12.0}, gateways=[cases.gateway()])
    assert grpc.gateway == 0.0


def test_what_a_measured_network_does_not_explain_is_shown():
    grpc, _rest = of(client={"mean_ms": 22.0, "network_ms": 0.5})
    assert grpc.transport == 0.5
    assert grpc.rest == pytest.approx(22 - 0.5 - EXECUTION_MS - 2.3, abs=0.1)
    assert not grpc.adds_up
    assert "unexplained 10.5 (48%)" in grpc.text


def test_a_client_that_is_faster_than_the_server_leaves_less_than_nothing():
    grpc, _rest = of(client={"mean_ms": 8.0})
    assert grpc.transport == 0.0
    assert grpc.rest == pytest.approx(8 - EXECUTION_MS - 2.3, abs=0.1)
    assert not grpc.adds_up


def test_a_server_without_batching_has_no_queue():
    (grpc,) = of(name="spelling")
    assert grpc.queue == 0.0
    assert grpc.execution == pytest.approx(4.0, rel=0.01)


def test_a_queue_that_nobody_tells_of_is_not_measured():
    evidence = cases.healthy()
    for sample in evidence["samples"]:
        page = sample["instances"]["ranker"]["metrics"]
        for name in [name for name in page if "queuing_latency" in name]:
            del page[name]
    grpc, _rest = of(evidence)
    assert (grpc.queue, grpc.execution) == (None, None)
    assert grpc.text.endswith("; not measured: gateway, transport, queue, execution")


def test_a_long_queue_is_the_largest_part():
    grpc, _rest = of(cases.traffic(cases.healthy(), "ranker", queue_us=40_000))
    assert max(grpc.parts, key=lambda name: grpc.parts[name] or 0.0) == "queue"
    assert grpc.queue / grpc.whole == pytest.approx(40 / (EXECUTION_MS + 40.3), rel=0.02)


def test_the_bracket_of_the_99th_percentile_is_that_of_its_bucket():
    grpc, _rest = of()
    # A tenth of the calls takes 18.3 ms.
    assert grpc.server_p99 == pytest.approx((11.5683, 20.823))


def test_without_calls_there_is_no_budget():
    assert of(cases.traffic(cases.healthy(), "spelling", grpc_rps=0), "spelling") == ()


@pytest.mark.parametrize("path", ["process/started", "metrics"])
def test_a_restart_or_a_page_that_is_missing_leaves_no_budget(path):
    evidence = cases.put(cases.healthy(), f"samples/1/instances/ranker/{path}", None)
    assert of(evidence) == ()


def test_buckets_tell_the_mean_where_the_sum_has_too_few_digits():
    page = {}
    cases.histogram(page, "h", {}, {9000: 10}, 10, 1.8)
    before = {**page, "h_sum": [[{}, 1.23456e12]]}
    after = {}
    cases.histogram(after, "h", {}, {9000: 30}, 10, 1.8)
    after["h_sum"] = [[{}, 1.23456e12]]
    grown = latencies.grown(before, after, "h")
    # 9 ms lies between 6.42684 and 11.5683 ms.
    assert grown.count == 20
    assert grown.mean == pytest.approx((6426.84 + 11568.3) / 2)


def test_a_counter_that_went_back_tells_nothing():
    page = {}
    cases.histogram(page, "h", {}, {9000: 10})
    assert latencies.grown(page, {**page, "h_count": [[{}, 4]]}, "h") is None
    assert latencies.counted({"c": [[{}, 5]]}, {"c": [[{}, 3]]}, "c") is None
    assert latencies.counted({}, {"c": [[{}, 3]]}, "c") == 3
