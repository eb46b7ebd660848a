# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The documents of benchmarks: what is read, and one sentence for whatever is wrong."""

from __future__ import annotations

import copy
import json

import benchmark_documents as documents
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import document

REMEDY = "give the JSON file of a benchmark"
BEFORE = documents.before()


def refusal(text):
    with pytest.raises(WishError) as caught:
        document.read(text)
    return str(caught.value)


def changed(*path, value=None, drop=False):
    """Return the text of a document that differs in one place."""
    found = copy.deepcopy(BEFORE)
    *way, last = path
    place = found
    for step in way:
        place = place[step]
    if drop:
        del place[last]
    else:
        place[last] = value
    return json.dumps(found)


@pytest.mark.parametrize("name", ["knee", "fixed", "few", "invalid", "before", "comparison", "shards", "hostile"])
def test_a_document_is_read_as_it_was_written(name):
    written = getattr(documents, name)()
    assert document.read(json.dumps(written)) == written


def test_the_result_of_tuning_is_a_document_too_but_none_to_compare_with():
    assert document.checked(documents.tune(), "document") == documents.tune()
    assert refusal(json.dumps(documents.tune())) == f"against: is the result of tuning, which is not compared; {REMEDY}"


def test_keys_of_a_later_release_are_passed_over():
    assert document.read(changed("weather", value="fine"))["weather"] == "fine"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON (line 1, column 1: Expecting value)"),
        ('{"schema": 1,', "is not JSON (line 1, column 14: Expecting property name enclosed in double quotes)"),
        ('{"schema": NaN}', "holds a number that JSON does not have"),
        ('{"schema": ' + "1" * 5000 + "}", "holds a number that JSON does not have"),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "is a list and no benchmark"),
        ("7", "is the number 7 and no benchmark"),
    ],
)
def test_what_is_no_document_is_refused(text, problem):
    assert refusal(text) == f"against: {problem}; {REMEDY}"


def test_a_document_of_another_schema_is_refused():
    assert refusal('{"schema": 2}') == "against: has schema the number 2, not 1; measure again"
    assert refusal("{}") == "against: has schema nothing, not 1; measure again"


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(document, "LONGEST", 2 << 20)
    assert refusal(" " * ((2 << 20) + 1)) == f"against: is larger than the 2 MiB that a benchmark may have; {REMEDY}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (changed("instance", drop=True), "instance is missing"),
        (changed("kind", value="race"), "kind is not one of knee, fixed, shards, turns"),
        (changed("stages", value={}), "stages is a mapping, not a list"),
        (changed("stages", 0, "rate", value="500"), "stages[0].rate is a string, not a number"),
        (changed("stages", 0, "rate", value=True), "stages[0].rate is a boolean, not a number"),
        (changed("stages", 0, "rate", value=1e300), "stages[0].rate is out of bounds"),
        (changed("stages", 0, "result", "ok", value=1.5), "stages[0].result.ok is a fraction, not a whole number"),
        (changed("stages", 0, "result", "ok", value=None), "stages[0].result.ok is nothing, not a whole number"),
        (changed("stages", 0, "percentiles", "p99", value=[]), "stages[0].percentiles.p99 is a list, not a mapping"),
        (changed("instance", value="x" * 100_001), "instance is out of bounds"),
        (changed("remarks", value=["x"] * 100_001), "remarks has more than 100000 entries"),
        (
            changed("conditions", "settings", "flags", value={"a": [[[[[[[[[[[[[1]]]]]]]]]]]]]}),
            "conditions.settings.flags is nested too deeply",
        ),
        (
            changed("stages", 0, "result", "histogram", "counts", value={"99999": 1}),
            "stages[0].result.histogram: the buckets of a histogram are numbered from 1 to 3286",
        ),
    ],
)
def test_each_wrong_key_is_named_with_what_is_wrong(text, problem):
    assert refusal(text) == f"against: is no benchmark: {problem}; {REMEDY}"


def test_what_may_be_null_may_be():
    assert document.read(changed("conditions", "governor", value=None))["conditions"]["governor"] is None
    assert document.read(changed("stages", 0, "result", value=None))["stages"][0]["result"] is None
