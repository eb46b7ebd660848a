# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The Prometheus page: names, labels, buckets, formats, and what is counted."""

import re

from tfs_reference.metrics import Counter, Histogram, Registry

COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"


def test_every_line_is_a_type_line_or_a_sample_with_braces(server):
    server.predict("plus", {"instances": [0.0]})
    for line in server.metrics().splitlines():
        assert re.fullmatch(r"# TYPE [:\w]+ (counter|histogram|gauge)|[:\w]+\{.*\} \S+", line), line


def test_requests_are_counted_by_the_name_in_the_path_and_their_status(server):
    before = {
        key: server.metric(COUNT, model_name=key[0], status=key[1])
        for key in (("plus", "OK"), ("ghost", "NOT_FOUND"), ("", "INVALID_ARGUMENT"))
    }
    server.predict("plus", {"instances": [0.0]})
    server.http("/v1/models/plus")  # health probes count as well
    server.predict("ghost", {"instances": [0.0]})
    server.http("/v1/nonsense")
    after = {key: server.metric(COUNT, model_name=key[0], status=key[1]) for key in before}
    assert [after[key] - before[key] for key in before] == [2, 1, 1]


def test_latency_holds_successes_only_and_tells_face_and_method(server):
    rest = {"model_name": "rowsum", "API": "predict", "entrypoint": "REST"}
    before = server.metric(f"{LATENCY}_count", **rest)
    server.predict("rowsum", {"instances": [[1.0]]})
    server.predict("rowsum", {"instances": ["x"]})
    assert server.metric(f"{LATENCY}_count", **rest) == before + 1
    runtime = ":tensorflow:serving:runtime_latency_count"
    assert server.metric(runtime, model_name="rowsum", API="Predict", runtime="TF1") >= 1


def test_latency_buckets_are_upstreams(server):
    server.predict("rowsum", {"instances": [[1.0]]})
    limits = re.findall(
        rf'{LATENCY}_bucket{{model_name="rowsum",API="predict",entrypoint="REST",le="([^"]+)"}}', server.metrics()
    )
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert (len(limits), limits[-1]) == (34, "+Inf")


def test_metrics_without_samples_keep_their_type_line(server):
    assert "# TYPE :tensorflow:serving:request_log_count counter\n" in server.metrics()


def test_the_page_is_plain_text_and_not_counted(server):
    before = server.metric(COUNT, model_name="", status="OK")
    server.metrics()
    assert server.metric(COUNT, model_name="", status="OK") == before


def test_sums_have_six_digits_counters_all_of_them_and_labels_are_escaped():
    registry = Registry()
    Counter(registry, "/a/b-c", ("Label.1",)).add('back\\slash "quote"', by=12345678)
    histogram = Histogram(registry, "/h", (), 1, 2, 2)
    histogram.observe(12345678)
    histogram.observe(1)
    assert registry.page().splitlines() == [
        "# TYPE :a:b:c counter",
        ':a:b:c{Label_1="back\\\\slash \\"quote\\""} 12345678',
        "# TYPE :h histogram",
        ':h_bucket{le="1"} 0',
        ':h_bucket{le="2"} 1',
        ':h_bucket{le="+Inf"} 2',
        ":h_sum{} 1.23457e+07",
        ":h_count{} 2",
    ]
