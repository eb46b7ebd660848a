# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server's page of metrics: known names, no more than can be used."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import page
from repository import REPOSITORY

COUNT = ":tensorflow:serving:request_count"
BUCKET = ":tensorflow:serving:request_latency_bucket"


def line(name, labels, value):
    return f"{name}{{{labels}}} {value}\n"


def test_known_series_are_read_with_their_labels():
    text = (
        f"# TYPE {COUNT} counter\n"
        + line(COUNT, r'model_name="ran\"ker",status="OK"', 41)
        + line(BUCKET, r'model_name="ran\"ker",API="Predict",entrypoint="GRPC",le="+Inf"', 41)
        + line(":tensorflow:core:graph_build_calls", "", 3)
        + line(":tensorflow:core:saved_model:read:count", 'write_version="2"', 1)
        + line(":tensorflow:serving:runtime_latency_sum", 'model_name="ran\\"ker"', "1.7e+10")
    )
    found = page.parsed(text, ['ran"ker'])
    assert found == {
        COUNT: [[{"model_name": 'ran"ker', "status": "OK"}, 41]],
        BUCKET: [[{"model_name": 'ran"ker', "API": "Predict", "entrypoint": "GRPC", "le": "+Inf"}, 41]],
        ":tensorflow:core:graph_build_calls": [[{}, 3]],
        ":tensorflow:serving:runtime_latency_sum": [[{"model_name": 'ran"ker'}, 17_000_000_000]],
    }


def test_models_that_nobody_planned_show_by_their_count_alone_and_never_by_thousands():
    text = "".join(line(COUNT, f'model_name="m{number}",status="NOT_FOUND"', 1) for number in range(200))
    text += line(BUCKET, 'model_name="m1",le="10"', 1)
    found = page.parsed(text, ["ranker"])
    assert len(found[COUNT]) == page.MOST_STRANGERS
    assert set(found) == {COUNT}


def test_a_series_that_comes_twice_was_made_up_by_a_caller():
    text = line(COUNT, 'model_name="ranker",status="OK"', 41) * 2
    with pytest.raises(ValueError, match="has a series of :tensorflow:serving:request_count twice"):
        page.parsed(text, ["ranker"])


def test_a_page_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(page, "MOST_READ", 9)
    text = "".join(line(BUCKET, f'model_name="ranker",le="{number}"', 1) for number in range(10))
    with pytest.raises(ValueError, match="has more than 9 known series"):
        page.parsed(text, ["ranker"])


def series(name, count):
    return {name: [[{"model_name": f"m{number}"}, 1] for number in range(count)]}


def test_a_page_of_very_many_models_keeps_what_the_rules_need():
    warm, run = ":tensorflow:serving:model_warmup_latency_bucket", ":tensorflow:serving:runtime_latency_bucket"
    first = {**series(BUCKET, 60), **series(COUNT, 10), **series(run, 60), **series(warm, 60)}
    last = {**series(BUCKET, 60), **series(COUNT, 10), **series(run, 50), **series(warm, 2)}
    assert page.fitted([first, last], 80) == [warm, run]
    assert [set(first), set(last)] == [{BUCKET, COUNT}, {BUCKET, COUNT}]
    assert len(first[BUCKET]) == 60


def test_a_page_that_fits_is_kept_as_it_is():
    found = {**series(BUCKET, 60), **series(":tensorflow:core:graph_runs", 20)}
    assert page.fitted([found], 80) == []
    assert len(found) == 2


def test_what_rules_and_budgets_read_is_what_is_needed():
    sources = (REPOSITORY / "plugins/plugin_utils/diagnosis").rglob("*.py")
    # The budget puts its names together.
    texts = [source.read_text(encoding="utf-8").replace("{SERVING}", ":tensorflow:serving:") for source in sources]
    read = {name for text in texts for name in re.findall(r"\"(:tensorflow:[a-z_:]+[a-z])\"", text)}
    assert {re.sub("_(count|sum|bucket)$", "", name) if name not in page.NEEDED else name for name in read} == set(
        page.NEEDED
    )
    assert set(page.NEEDED) <= page.NAMES


@pytest.mark.parametrize("value", ["NaN", "+Inf", "1e999", "many"])
def test_what_is_no_finite_number_is_left_out(value):
    assert page.parsed(line(COUNT, 'model_name="ranker",status="OK"', value), ["ranker"]) == {}
