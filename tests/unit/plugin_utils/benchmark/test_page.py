# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of a benchmark: complete, safe, and true to its figures."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import benchmark_documents as documents
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import curves, page, scale, sizes, timeline
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.chart import WIDE

NAMES = ["knee", "fixed", "few", "invalid", "comparison", "shards", "tune", "hostile"]
NEVER_CLOSED = {"meta", "br"}


class Reader(HTMLParser):
    """Reads a page and notes its texts, attributes and tags that are not closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def shown(name):
    return page.page(getattr(documents, name)(), documents.before() if name == "comparison" else None)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_and_asks_for_nothing_else(name):
    source = shown(name)
    found = Reader(source)
    assert found.open == []
    assert not {"script", "link", "img", "iframe", "object", "image", "form", "a"} & set(found.tags)
    assert [value for key, value in found.attributes if key in ("src", "href", "xlink:href", "action")] == []
    assert not [key for key, _value in found.attributes if key.startswith("on")]
    assert not re.search(r"@import|url\(", source)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert ("content", policy) in found.attributes


@pytest.mark.parametrize("name", NAMES)
def test_the_same_document_gives_the_same_bytes(name):
    assert shown(name) == shown(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_has_a_title_and_a_description_for_those_who_do_not_see_it(name):
    found = Reader(shown(name))
    labels = [value for key, value in found.attributes if key == "aria-labelledby"]
    ids = [value for key, value in found.attributes if key == "id"]
    assert labels
    assert len(ids) == len(set(ids))
    assert all(each in ids for label in labels for each in label.split())


def test_texts_from_outside_are_shown_as_they_are_and_never_run():
    found = Reader(shown("hostile"))
    assert "script" not in found.tags
    assert "".join(found.texts).count(visible(documents.EVIL)) >= 50


def test_the_headline_is_the_title_and_the_figures_are_large():
    texts = Reader(shown("knee")).texts
    assert texts.count("ranker keeps p99 ≤ 50 ms up to 812 requests/s (between 790 and 830)") == 2
    assert {
        "812/s",
        "790 passed, 830 failed; confirmed 3 times",
        "40.6 ms",
        "40.2 to 42.2 ms, at 812 requests/s",
    } <= set(texts)


def test_an_invalid_run_says_so_above_its_figures():
    source = shown("invalid")
    assert source.index('role="alert"') < source.index('class="tiles"')
    assert "Invalid: the figures below say nothing about the server" in source
    assert "load-1 used 84 % of its CPU" in source


def test_what_is_withheld_is_neither_blank_nor_zero():
    texts = Reader(shown("few")).texts
    assert texts.count("withheld") >= 2
    assert "p99 is withheld: it takes 459 requests to claim it, and there are 290" in texts


def test_two_runs_lie_over_each_other():
    texts = Reader(shown("comparison")).texts
    assert {"before, 500 requests/s", "after, 500 requests/s", "0.81 (0.76 to 0.87)"} <= set(texts)
    assert "batching.max_batch_size was 32 and is 64" in texts
    with pytest.raises(WishError, match=r"^before: is the result of tuning, which is not"):
        page.page(documents.fixed(), documents.tune())


def test_events_are_letters_in_the_picture_and_rows_of_a_table():
    texts = Reader(shown("knee")).texts
    assert {"T", "R", "E"} <= set(texts)
    assert "version 8 was loaded beside version 7" in texts


def test_tuning_shows_the_reasons_and_what_to_commit_with_its_line_breaks():
    source = shown("tune")
    assert "<pre>tfserving_instances:\n  - name: ranker\n    batching:\n      max_batch_size: 64\n</pre>" in source
    assert "Trial 4 reaches 1,735, which is within the interval; trial 3 is the less extreme." in source
    assert "illegal: max_batch_size 512 exceeds what the callers can fill" in source


def test_tuning_shows_what_shards_win_by_settings():
    found = shown("tune_with_shards")
    assert found.count("<h2>One request, cut into shards</h2>") == 2
    assert "with the planned settings: not measured: the time was over" in found
    assert (found.count('id="shards-1-wide-title"'), found.count("shards-2")) == (1, 0)
    assert "<h2>One request, cut into shards</h2>" not in shown("tune")


def test_a_page_without_any_result_is_still_a_page():
    found = documents.fixed()
    found["stages"][0] |= {"result": None, "percentiles": {"p50": None, "p99": None, "withheld": {"p50": "no answer"}}}
    assert Reader(page.page(found)).open == []
    assert Reader(page.page({**found, "stages": []})).open == []


def shapes(picture, style):
    return [shape for shape in picture.wide.shapes if shape.style == style]


def test_failed_stages_are_crosses_and_withheld_ones_are_squares():
    picture = curves.load(documents.knee())
    assert len(shapes(picture, "mark p99 fail")) == 5
    assert len(shapes(picture, "mark p99 pass")) == 7
    assert [shape.hint for shape in shapes(picture, "mark withheld")] == [
        "double 1, 50 requests/s: p99 is withheld: it takes 459 requests to claim it, and there are 380"
    ]


def test_higher_latencies_are_drawn_higher_and_higher_rates_to_the_right():
    marks = shapes(curves.load(documents.knee()), "mark p99 pass")
    slow, quick = (next(mark for mark in marks if mark.hint.startswith(name)) for name in ("double 5", "double 4"))
    assert slow.x > quick.x
    assert slow.y < quick.y


@pytest.mark.parametrize("name", ["knee", "fixed", "comparison", "shards"])
def test_no_marker_lies_outside_its_picture(name):
    document = getattr(documents, name)()
    for picture in (curves.load(document), curves.distribution(document), timeline.timeline(document)):
        for drawing in (picture.wide, picture.narrow) if picture else ():
            assert all(0 <= shape.x <= drawing.width and 0 <= shape.y <= drawing.height for shape in drawing.shapes)


def test_an_earlier_search_is_drawn_below_this_one():
    alone, both = curves.load(documents.knee()), curves.load(documents.knee(), documents.knee(slow=1.5))
    assert shapes(alone, "earlier") == []
    assert [shape.d.count("L") for shape in shapes(both, "earlier")] == [9]  # ten rates had a p99
    assert [key.label for key in both.keys][-1] == "p99 before"


def test_one_rate_is_no_curve_over_the_load():
    assert curves.load(documents.fixed()) is None


def test_a_curve_ends_where_the_requests_no_longer_support_a_percentile():
    ends = {name: curves.told(getattr(documents, name)())[0].end for name in ("few", "fixed")}
    # 459 requests are the least for p99, which is two nines: 290 are too few, 29,400 are enough for p99.9.
    assert 1 < ends["few"] < 2
    assert 3 < ends["fixed"] < 4


def test_failures_count_as_slower_than_any_answer():
    found = documents.fixed()
    answered = curves.told(found)[0]
    found["stages"][0]["result"]["errors"] = {"UNAVAILABLE": answered.histogram.total // 9}
    failing = curves.told(found)[0]
    assert 0.99 < failing.end < 1.01
    assert failing.at(0.9) > answered.at(0.9)


def test_the_curves_of_two_runs_are_those_of_the_nearest_rates():
    found = documents.knee()
    names = [curve.name for curve in curves.compared(found, documents.before())]
    assert names == ["before, 500 requests/s", "after, 400 requests/s"]
    names = [curve.name for curve in curves.compared(found, documents.knee(slow=1.1))]
    assert names == ["before, 812 requests/s", "after, 812 requests/s"]


def test_a_p99_of_a_second_is_drawn_only_where_the_requests_support_it():
    few, many = (timeline.timeline(document) for document in (documents.few(), documents.knee()))
    assert shapes(few, "p99") == []
    assert len(shapes(many, "p99")) == 4  # the stages with 800 requests a second that did not fail


def test_a_long_run_is_drawn_with_fewer_points_than_seconds(monkeypatch):
    monkeypatch.setattr(timeline, "MOST", 20)
    offered = shapes(timeline.timeline(documents.fixed()), "offered")
    assert [shape.d.count("L") for shape in offered] == [16]  # 65 seconds by fours


@pytest.mark.parametrize(
    ("given", "most", "expected"),
    [
        (scale.Scale(0, 100, 0, 1), 5, [0, 20, 40, 60, 80, 100]),
        (scale.Scale(0, 7, 0, 1), 4, [0, 2, 4, 6]),
        (scale.Scale(3, 900, 0, 1, "log"), 10, [5, 10, 20, 50, 100, 200, 500]),
        (scale.Scale(3, 9000, 0, 1, "log"), 8, [3, 10, 30, 100, 300, 1000, 3000]),
        (scale.Scale(1, 1e6, 0, 1, "log"), 4, [1, 100, 10_000, 1_000_000]),
        (scale.Scale(5, 5, 0, 1), 4, [5]),
    ],
)
def test_ticks_are_round(given, most, expected):
    assert given.ticks(most) == expected


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        (scale.Scale(0, 10, 100, 200), 5, 150),
        (scale.Scale(0, 10, 200, 100), 2.5, 175),
        (scale.Scale(1, 100, 0, 100, "log"), 10, 50),
        (scale.Scale(0, 10, 100, 200), 99, 200),
        (scale.Scale(5, 5, 0, 100), 5, 50),
    ],
)
def test_values_have_their_places(given, value, expected):
    assert given.at(value) == expected


def test_a_scale_is_logarithmic_where_that_helps():
    assert scale.fitting([1, 9], 0, 1).kind == "log"
    assert scale.fitting([2, 9], 0, 1).kind == "linear"
    assert scale.fitting([0, 9], 0, 1).kind == "linear"
    assert curves.load(documents.knee()).wide.width == WIDE


def test_capacity_that_was_not_counted_is_shown_as_a_share():
    rows = [{**row, "capacity_items_per_s": None} for row in documents.shards()["shards"]]
    hints = [shape.hint for shape in shapes(sizes.shards(rows), "bar")]
    assert hints[1:3] == ["2 x 350: 88 %, 12 % lost", "4 x 175: 71 %, 29 % lost"]
    assert [
        shape.text for shape in shapes(sizes.shards([{**row, "capacity_lost": None} for row in rows]), "row-said")
    ] == ["not known"] * 4
