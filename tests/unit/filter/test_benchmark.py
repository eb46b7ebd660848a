# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filters of benchmarks: what they are given, and one sentence for what is no document."""

from __future__ import annotations

import benchmark_documents as documents
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter import benchmark_html, benchmark_markdown, benchmark_text

FILTERS = [benchmark_text.benchmark_text, benchmark_markdown.benchmark_markdown, benchmark_html.benchmark_html]


def test_the_text_ends_with_the_files():
    assert benchmark_text.benchmark_text(documents.few(), ["Page: x.html", "Data: x.json"]).endswith(
        "\n\nPage: x.html\nData: x.json\n"
    )


def test_each_layout_is_of_its_kind():
    assert benchmark_markdown.benchmark_markdown(documents.few()).startswith(
        "### `ranker answers 14.5 of 20 requests/s"
    )
    assert benchmark_html.benchmark_html(documents.comparison(), documents.before()).startswith("<!doctype html>")


@pytest.mark.parametrize("lay_out", FILTERS)
def test_what_is_no_document_is_refused_in_one_sentence(lay_out):
    with pytest.raises(AnsibleFilterError) as refused:
        lay_out({"schema": 1, "kind": "fixed"})
    assert str(refused.value) == "document: is no benchmark: instance is missing; give the JSON file of a benchmark"


def test_the_earlier_document_is_named_where_it_is_wrong():
    with pytest.raises(AnsibleFilterError, match=r"^before: has schema the number 2, not 1; measure again$"):
        benchmark_html.benchmark_html(documents.few(), {"schema": 2})
