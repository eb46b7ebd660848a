# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Signals worked out by promtool from made-up counters, and compared with what they must be."""

from __future__ import annotations

import subprocess

import alert_cases
import promtools
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import buckets, rules
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Objective

HERE = 'job="tfserving",instance="gpu-1.ranker",host="gpu-1",serving_instance="ranker"'
CALL = f'{HERE},model_name="dense"'
OF_HOST = '{host="gpu-1", serving_instance="ranker"%s}'
OF_ALL = '{serving_instance="ranker"%s}'
_BATCH = ":tensorflow:serving:batching_session"


def latencies(per_step: dict[str, int], labels: str = f'{CALL},API="Predict",entrypoint="GRPC"') -> dict[str, str]:
    """Return counters of calls by the limit below which they end, so many more of them each 15 s."""
    found, total = {}, 0
    for text in buckets.LATENCY.texts():
        total += per_step.get(text, 0)
        found[f':tensorflow:serving:request_latency_bucket{{{labels},le="{text}"}}'] = f"0+{total}x60"
    found[f":tensorflow:serving:request_latency_count{{{labels}}}"] = f"0+{total}x60"
    return found


def said(
    tmp_path,
    series: dict[str, str],
    expected: dict[str, list[tuple[str, float]]],
    objectives=alert_cases.OBJECTIVES,
    at: str = "10m",
) -> str:
    """Return promtool's complaints about the figures after ten minutes; nothing where they are as expected."""
    made = rules.files(objectives)[rules.RECORDING]
    (tmp_path / "recording.yml").write_text(made, encoding="utf-8")
    asked = [
        {"expr": expr, "eval_time": at, "exp_samples": [{"labels": name, "value": value} for name, value in samples]}
        for expr, samples in expected.items()
    ]
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": asked,
    }
    content = {"rule_files": ["recording.yml"], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(content, width=2**16), encoding="utf-8")
    path = str(tmp_path / "test.yml")
    program = promtools.program(promtools.BOOKWORM)
    done = subprocess.run([program, "test", "rules", path], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def of(expr: str) -> str:
    """Return an expression whose series have no name and six digits: sums of fractions differ in the last."""
    return f"round({expr}, 0.000001)"


def test_p99_is_told_as_the_limits_of_its_bucket_and_the_verdict_is_undecided_within_it(tmp_path):
    expected = {
        of("tfserving:p99_low_seconds"): [(OF_ALL % "", 0.067466)],
        of("tfserving:p99_high_seconds"): [(OF_ALL % "", 0.12144)],
        of('tfserving:slo_bad_ratio:low{window="5m"}'): [(OF_ALL % ', window="5m"', 0)],
        of('tfserving:slo_bad_ratio:high{window="5m"}'): [(OF_ALL % ', window="5m"', 0.02)],
        of("tfserving:slo_verdict"): [
            (OF_ALL % ', verdict="violated"', 0),
            (OF_ALL % ', verdict="met"', 0),
            (OF_ALL % ', verdict="undecided"', 1),
        ],
    }
    assert said(tmp_path, latencies({"10": 980, "121440": 20}), expected) == ""


def test_a_percentile_in_the_last_bucket_has_no_upper_limit_and_violates_the_objective(tmp_path):
    expected = {
        of("tfserving:p99_low_seconds"): [(OF_ALL % "", 1474.76)],
        "sum(tfserving:p99_high_seconds) == Inf": [("{}", float("inf"))],
        of('tfserving:slo_verdict{verdict="violated"}'): [(OF_ALL % ', verdict="violated"', 1)],
    }
    assert said(tmp_path, latencies({"+Inf": 30}), expected) == ""


@pytest.mark.parametrize(
    ("instance", "bucket", "slow", "verdict"),
    [
        # One step above the limit over the objective of 100 ms, by one call more than one in a hundred.
        ("ranker", "218591", 11, "violated"),
        ("ranker", "121440", 11, "undecided"),
        ("ranker", "121440", 10, "met"),
        # Below the limit under it.
        ("ranker", "67466.4", 20, "met"),
        # Where the objective is a limit itself, nothing is undecided.
        ("edge", "218591", 11, "violated"),
        ("edge", "218591", 10, "met"),
        ("edge", "121440", 20, "met"),
    ],
)
def test_the_verdict_is_given_only_where_it_is_sure(tmp_path, instance, bucket, slow, verdict):
    series = latencies({"10": 1000 - slow, bucket: slow})
    name = f'tfserving:slo_verdict{{serving_instance="{instance}", verdict="{verdict}"}}'
    asked = {"tfserving:slo_verdict == 1": [(name, 1.0)]}
    assert said(tmp_path, {key.replace("ranker", instance): each for key, each in series.items()}, asked) == ""


def test_without_calls_there_is_neither_verdict_nor_bracket(tmp_path):
    figures = ("tfserving:slo_verdict", "tfserving:p99_low_seconds", "tfserving:p99_high_seconds")
    assert said(tmp_path, latencies({}), {name: [] for name in figures}) == ""


def test_the_hundredth_call_is_not_in_the_99th_percentile(tmp_path):
    expected = {
        of("tfserving:p99_low_seconds"): [(OF_ALL % "", 0.00357)],
        of("tfserving:p99_high_seconds"): [(OF_ALL % "", 0.006427)],
    }
    assert said(tmp_path, latencies({"6426.84": 990, "121440": 10}), expected) == ""


def test_one_call_in_a_hundred_may_be_slow(tmp_path):
    expected = {
        of("tfserving:p99_low_seconds"): [(OF_ALL % "", 0)],
        of("tfserving:p99_high_seconds"): [(OF_ALL % "", 0.00001)],
        of("tfserving:slo_verdict"): [
            (OF_ALL % ', verdict="violated"', 0),
            (OF_ALL % ', verdict="met"', 1),
            (OF_ALL % ', verdict="undecided"', 0),
        ],
    }
    assert said(tmp_path, latencies({"10": 990, "218591": 10}), expected) == ""


def test_status_requests_of_probes_are_no_calls(tmp_path):
    probes = latencies({"10": 900}, f'{CALL},API="",entrypoint="REST"')
    series = {
        **latencies({"121440": 30}),
        **probes,
        f':tensorflow:serving:request_count{{{CALL},status="OK"}}': "0+930x60",
        f':tensorflow:serving:request_count{{{CALL},status="INTERNAL"}}': "0+15x60",
    }
    expected = {
        of("tfserving:calls:rate5m"): [(OF_HOST % "", 3)],
        of("tfserving:errors:rate5m"): [(OF_HOST % ', model_name="dense"', 1)],
        of("tfserving:p99_high_seconds"): [(OF_ALL % "", 0.12144)],
        of("tfserving:slo_calls:rate5m"): [(OF_ALL % "", 2)],
    }
    assert said(tmp_path, series, expected) == ""


def test_a_server_that_has_failed_every_call_since_its_start_has_calls_and_they_end(tmp_path):
    series = {f':tensorflow:serving:request_count{{{CALL},status="INTERNAL"}}': "0+15x60"}
    expected = {
        of("tfserving:calls:rate5m"): [(OF_HOST % "", 1)],
        of("tfserving:completed:rate2m"): [(OF_HOST % "", 1)],
        of('tfserving:availability_bad_ratio{window="5m"}'): [(OF_ALL % ', window="5m"', 1)],
    }
    assert said(tmp_path, series, expected) == ""


def test_time_is_split_into_overhead_queue_and_execution(tmp_path):
    rest = f'{CALL},API="predict",entrypoint="REST"'
    series = {
        **latencies({"32.4": 150}, rest),
        f":tensorflow:serving:request_latency_sum{{{rest}}}": "0+4500000x60",
        f':tensorflow:serving:runtime_latency_sum{{{CALL},API="Predict",runtime="TF1"}}': "0+3000000x60",
        f':tensorflow:serving:runtime_latency_count{{{CALL},API="Predict",runtime="TF1"}}': "0+150x60",
        f'{_BATCH}:queuing_latency_sum{{{HERE},thread_pool_name=""}}': "0+750000x60",
        f'{_BATCH}:queuing_latency_count{{{HERE},thread_pool_name=""}}': "0+150x60",
    }
    expected = {
        of("tfserving:latency_mean_seconds"): [(OF_HOST % ', entrypoint="REST"', 0.03)],
        of("tfserving:runtime_seconds"): [(OF_HOST % "", 0.02)],
        of("tfserving:overhead_seconds"): [(OF_HOST % ', entrypoint="REST"', 0.01)],
        of("tfserving:queue_seconds"): [(OF_HOST % "", 0.005)],
        of("tfserving:execution_seconds"): [(OF_HOST % "", 0.015)],
        # 10 calls a second of 30 ms each.
        of("tfserving:in_flight"): [(OF_HOST % "", 0.3)],
        of("tfserving:queue_length"): [(OF_HOST % "", 0.05)],
    }
    assert said(tmp_path, series, expected) == ""


def test_batches_of_one_row_on_busy_threads_are_capped_by_their_callers(tmp_path):
    series = {
        f"{_BATCH}:processed_batch_size_sum{{{HERE}}}": "0+1800x60",
        f"{_BATCH}:processed_batch_size_count{{{HERE}}}": "0+1500x60",
        f'{_BATCH}:padding_size_sum{{{HERE},execution_batch_size="1"}}': "0+300x60",
        f"{_BATCH}:wrapped_run_count{{{HERE}}}": "0+1500x60",
        f'{_BATCH}:queuing_latency_sum{{{HERE},thread_pool_name=""}}': "0+150000x60",
        f'{_BATCH}:queuing_latency_count{{{HERE},thread_pool_name=""}}': "0+1500x60",
        f':tensorflow:serving:runtime_latency_sum{{{CALL},API="Predict",runtime="TF1"}}': "0+45150000x60",
        f':tensorflow:serving:runtime_latency_count{{{CALL},API="Predict",runtime="TF1"}}': "0+1500x60",
    }
    expected = {
        of("tfserving:batch_rows"): [(OF_HOST % "", 1)],
        of("tfserving:batch_fill_ratio"): [(OF_HOST % "", 0.015625)],
        of("tfserving:batch_threads_used_ratio"): [(OF_HOST % "", 0.75)],
        of("tfserving:padding_ratio"): [(OF_HOST % "", 0.166667)],
        of("tfserving:saturation"): [
            (OF_HOST % ', kind="capacity"', 0),
            (OF_HOST % ', kind="timeout"', 0),
            (OF_HOST % ', kind="callers"', 1),
        ],
    }
    assert said(tmp_path, series, expected) == ""


@pytest.mark.parametrize(("waits_us", "capacity"), [(5_000, 0), (29_000, 0), (31_000, 1)])
def test_without_a_time_out_full_batches_saturate_once_calls_wait_for_more_than_two_of_them(
    tmp_path, waits_us, capacity
):
    # A batch of 63 of 64 rows takes 15 ms.
    runtime_us = 150 * (15_000 + waits_us)
    series = {
        f"{_BATCH}:processed_batch_size_sum{{{HERE}}}": "0+9450x60",
        f"{_BATCH}:processed_batch_size_count{{{HERE}}}": "0+150x60",
        f"{_BATCH}:wrapped_run_count{{{HERE}}}": "0+150x60",
        f'{_BATCH}:queuing_latency_sum{{{HERE},thread_pool_name=""}}': f"0+{150 * waits_us}x60",
        f'{_BATCH}:queuing_latency_count{{{HERE},thread_pool_name=""}}': "0+150x60",
        f':tensorflow:serving:runtime_latency_sum{{{CALL},API="Predict",runtime="TF1"}}': f"0+{runtime_us}x60",
        f':tensorflow:serving:runtime_latency_count{{{CALL},API="Predict",runtime="TF1"}}': "0+150x60",
    }
    objective = Objective("ranker", ("dense",), 100, 0.999, 64, 0, 4)
    expected = {
        of("tfserving:execution_seconds"): [(OF_HOST % "", 0.015)],
        of("tfserving:saturation"): [(OF_HOST % ', kind="capacity"', capacity), (OF_HOST % ', kind="callers"', 0)],
    }
    assert said(tmp_path, series, expected, [objective]) == ""


def test_the_larger_count_of_failures_is_that_of_gateways_where_no_server_took_the_calls(tmp_path):
    gateway = 'job="haproxy",host="gw-1",instance="gw-1"'
    series = {
        **latencies({"10": 150}),
        f'haproxy_backend_http_responses_total{{{gateway},proxy="rest_dense_v7",code="2xx"}}': "0+150x60",
        f'haproxy_backend_http_responses_total{{{gateway},proxy="grpc_dense",code="5xx"}}': "0+50x60",
        f'haproxy_backend_http_responses_total{{{gateway},proxy="in_status",code="5xx"}}': "0+900x60",
    }
    expected = {
        of('tfserving:availability_bad_ratio{window="5m"}'): [(OF_ALL % ', window="5m"', 0.25)],
        of('tfserving:availability_burn{window="5m"}'): [(OF_ALL % ', window="5m"', 250)],
    }
    assert said(tmp_path, series, expected) == ""


@pytest.mark.parametrize(
    ("proxy", "instance"),
    [
        ("rest_dense", "ranker"),
        ("rest_dense_v7", "ranker"),
        ("grpc_dense_canary", "ranker"),
        ("rest_dense_label_next_v2", "ranker"),
        ("rest_dense_v2", "second"),
        ("rest_dense_v2_v7", "second"),
        ("rest_dense_v2_control", "second"),
        ("grpc_dense_canary.1", "third"),
        ("grpc_dense_canary.1_canary", "third"),
        ("rest_dense_label_stable", "fourth"),
        ("grpc_tcp_ranker", "fifth"),
        ("rest_dense_label_stable_label_stable", "fourth"),
    ],
)
def test_a_model_whose_name_ends_like_an_arm_a_version_or_a_label_is_told_from_another(tmp_path, proxy, instance):
    models = {"ranker": "dense", "second": "dense_v2", "third": "dense_canary.1", "fourth": "dense_label_stable"}
    models["fifth"] = "tcp_ranker"
    objectives = [Objective(name, (model,), 100, 0.999, None, None, None) for name, model in models.items()]
    series = {
        f'haproxy_backend_http_responses_total{{job="haproxy",host="gw-1",proxy="{proxy}",code="2xx"}}': "0+150x60"
    }
    expected = {of("tfserving:availability_calls:rate5m"): [(f'{{serving_instance="{instance}"}}', 10)]}
    assert said(tmp_path, series, expected, objectives) == ""


def test_without_gateways_the_servers_own_count_is_taken(tmp_path):
    series = {
        **latencies({"10": 135}),
        f':tensorflow:serving:request_count{{{CALL},status="UNAVAILABLE"}}': "0+15x60",
    }
    expected = {of('tfserving:availability_bad_ratio{window="5m"}'): [(OF_ALL % ', window="5m"', 0.1)]}
    assert said(tmp_path, series, expected) == ""


@pytest.mark.parametrize(("ran", "counted"), [("1x100", 1), ("_x40 1x60", 0)])
def test_errors_that_the_first_run_of_the_collector_finds_are_not_new(tmp_path, ran, counted):
    here = 'job="node",instance="gpu-1",host="gpu-1"'
    error = 'pci="0000:01:00.0",code="79",action="restart_host"'
    series = {
        # The node exporter is older.
        f"up{{{here}}}": "1x80",
        f'tfserving_collector_success{{{here},part="xids"}}': ran,
        f"tfserving_xid_total{{{here},{error}}}": "_x40 1x60",
    }
    found = [(f'{{host="gpu-1", {error}}}', 1.0)] if counted else []
    assert said(tmp_path, series, {of("tfserving:xids:increase15m"): found}, at="20m") == ""


def test_a_server_of_haproxy_is_told_by_its_host_and_its_instance(tmp_path):
    server = 'job="haproxy",host="gw-1",instance="gw-1",server="gpu-1.example.org.ranker"'
    series = {
        f'haproxy_server_current_sessions{{{server},proxy="rest_dense"}}': "2x60",
        f'haproxy_server_current_sessions{{{server},proxy="grpc_tcp_ranker"}}': "9x60",
    }
    labels = '{host="gpu-1.example.org", serving_instance="ranker", server="gpu-1.example.org.ranker"}'
    assert said(tmp_path, series, {of("tfserving:gateway_waiting"): [(labels, 2)]}) == ""
