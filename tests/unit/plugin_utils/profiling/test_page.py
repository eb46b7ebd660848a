# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of a server's memory around a trace."""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.plugin_utils.profiling import page


def sample(at, resident, gpu=None):
    memory = {"resident_mb": resident, "anonymous_mb": resident / 2, "huge_mb": 0.0, "lazy_mb": 10.0}
    return {"at": 1000.0 + at, "memory": memory, "gpu_memory": gpu}


SAMPLES = [sample(0, 500), sample(1, 512.5, {"0": 4000}), sample(2, 900), sample(3, 640, {"0": 4200, "10": 7})]
WINDOW = (1001.5, 1002.5)


def rows(html):
    found = re.findall(r'<th scope="row">([^<]*)</th>((?:<td[^>]*>[^<]*</td>)+)', html)
    return {name: re.findall(r">([^<]*)</td>", cells) for name, cells in found}


def test_each_figure_is_told_before_the_trace_at_its_highest_and_at_the_end():
    found = rows(page.page(SAMPLES, "ranker", "a1", WINDOW))
    assert found["resident (RSS)"] == ["512", "900", "640"]
    assert found["GPU 0"] == ["4,000", "4,200", "4,200"]
    # Nothing is known of it before.
    assert found["GPU 10"] == ["7", "7", "7"]


def test_process_and_gpus_have_a_picture_each_with_the_trace_in_it():
    html = page.page(SAMPLES, "ranker", "a1", WINDOW)
    assert html.count('class="chart wide"') == 2
    assert html.count("<title>the trace</title>") == 4
    assert "Memory of its GPUs" not in page.page(SAMPLES[:1], "ranker", "a1", WINDOW)


def test_without_figures_the_page_says_so():
    html = page.page([{"at": 1000.0, "memory": None}], "ranker", "a1", WINDOW)
    assert "not told by the host" in html
    assert "<svg" not in html


def test_what_a_host_tells_is_escaped_and_what_is_no_figure_left_out():
    told = {"<b>": 7, "1": "many", "2": float("nan"), "3": True}
    html = page.page([{"at": 1000.0, "gpu_memory": told}, {"at": "now"}, {}], "<i>", "a1", WINDOW)
    assert "GPU &lt;b&gt;" in html
    assert "<i>" not in html
    assert "GPU 1" not in html
    assert "GPU 2" not in html


def test_it_is_kept_beside_the_trace(tmp_path):
    captured = {"file": str(tmp_path / "run" / "a1.xplane.pb"), "window": [1001.5, 1002.5]}
    file = page.kept(SAMPLES, captured, "ranker", "a1")
    assert file == str(tmp_path / "run" / "a1.memory.html")
    assert (tmp_path / "run" / "a1.memory.html").read_text().startswith("<!doctype html>")
