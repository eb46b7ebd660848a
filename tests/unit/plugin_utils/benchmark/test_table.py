# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark in the terminal and as Markdown: the headline first, nothing withheld in silence, nothing that runs."""

from __future__ import annotations

import copy
import re

import benchmark_documents as documents
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import figures, markdown, table, wording

NAMES = ["knee", "fixed", "few", "invalid", "comparison", "shards", "tune"]
RATIO = {"value": 0.81, "low": 0.76, "high": 0.87}


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_fits_on_a_screen(name):
    text = table.text(getattr(documents, name)(), ["Report: benchmark-ranker.html"])
    assert len(text.splitlines()) <= 25
    assert text.endswith("\nReport: benchmark-ranker.html\n")


def test_even_a_long_one_does():
    found = documents.knee()
    found["stages"] *= 5
    found["remarks"] = [f"remark {number}" for number in range(50)]
    lines = table.text(found).splitlines()
    assert len(lines) <= 25
    assert "  and 52 stages more on the page" in lines
    assert lines[-1] == "  ! and 48 more on the page"


OVERLOADED = "load-1 used 84 % of its CPU, more than 70 %: the latencies may be its own"
HEADLINES = {
    "knee": "ranker keeps p99 ≤ 50 ms up to 812 requests/s (between 790 and 830)",
    "few": "ranker answers 14.5 of 20 requests/s with p50 2.3 ms (2.1 to 2.4), p99 withheld",
    "invalid": f"This benchmark of ranker is invalid: {OVERLOADED}",
    "comparison": "ranker is better than before.json: p99 times 0.81 (0.76 to 0.87)",
    "shards": "ranker answers 700 items in 14.0 ms as 7 x 100 instead of 48.0 ms (p99), with capacity 43 % lower",
}


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_comes_first_and_is_one_sentence(name):
    document = getattr(documents, name)()
    assert wording.headline(document) == HEADLINES[name]
    assert " ".join(table.text(document).split()).startswith(HEADLINES[name])
    assert markdown.markdown(document).startswith(f"### `{HEADLINES[name]}`\n")


def test_a_knee_may_lie_beyond_the_search_or_not_exist():
    found = documents.knee()
    found["knee"]["high"] = None
    assert wording.headline(found) == "ranker keeps p99 ≤ 50 ms up to at least 812 requests/s"
    found["knee"] = None
    why = found["stages"][5]["why"]
    assert wording.headline(found) == f"ranker: no rate was found that keeps p99 ≤ 50 ms ({why})"


@pytest.mark.parametrize(
    ("verdict", "ratio", "expected"),
    [
        ("worse", RATIO, "ranker is worse than before.json: p99 times 0.81 (0.76 to 0.87)"),
        ("no difference", RATIO, "ranker does not differ from before.json: p99 times 0.81 (0.76 to 0.87)"),
        ("not comparable", None, "ranker cannot be compared with before.json: it lasted a second"),
    ],
)
def test_each_verdict_of_a_comparison_has_its_sentence(verdict, ratio, expected):
    found = documents.comparison()
    found["comparison"] |= {"verdict": verdict, "p99_ratio": ratio, "reason": "it lasted a second"}
    assert wording.headline(found) == expected


def test_tuning_says_what_it_gained_or_that_the_plan_was_right():
    found = documents.tune()
    gained = (
        "ranker serves 1,720 requests/s within p99 ≤ 50 ms with trial 3, 1.46 (1.37 to 1.55) times the planned settings"
    )
    assert wording.tuned(found) == gained
    found["choice"]["trial"] = 1
    assert wording.tuned(found).startswith("ranker serves 610 requests/s within p99 ≤ 50 ms without batching, 1.46 ")
    found["choice"]["trial"] = 2
    assert wording.tuned(found) == "The planned settings of ranker are right: 1,180 requests/s within p99 ≤ 50 ms"
    found["choice"] = {"trial": None, "verdict": "none", "reasons": ["None keeps it."], "against_planned": None}
    assert wording.tuned(found) == "ranker: no settings were chosen; the planned ones stay"
    assert "  - None keeps it." in table.text(found)
    found["choice"] = None
    assert wording.tuned(found) == "ranker: no settings were chosen; the planned ones stay"


def test_a_stage_is_a_line():
    lines = table.text(documents.knee()).splitlines()
    assert "  bisect 4         830    826  9.2 ms    50.3 ms (46.8 to 52.7)          0  0.042 %  fail" in lines


def test_a_single_stage_says_why_it_passed():
    lines = table.text(documents.fixed()).splitlines()
    assert f"  pass: {documents.fixed()['stages'][0]['why']}" in lines


def test_what_is_withheld_is_said_with_the_reason():
    text = table.text(documents.few())
    assert re.search(r"fixed +20 +14\.5 +2\.3 ms +withheld", text)
    assert "  ! p99 is withheld: it takes 459 requests to claim it, and there are 290" in text
    found = documents.knee()
    for stage in found["stages"][:2]:
        stage["percentiles"] |= {"p99": None, "withheld": {"p99": "p99 is withheld: too few"}}
    assert "  ! double 1 and double 2: p99 is withheld: too few" in table.text(found)


def test_what_was_not_measured_is_no_zero():
    found = documents.fixed()
    found["stages"][0]["result"] = None
    text = table.text(found)
    assert re.search(r"fixed +500 +not known .* not known +not known +pass", text)
    assert "  ! fixed has no result" in text


def test_a_count_of_the_server_that_differs_is_said():
    found = documents.fixed()
    found["stages"][0]["result"]["counters"]["after"]["OK"] += 12
    sent = found["stages"][0]["result"]["all"]["sent"]
    assert f"  ! fixed: the server counted {sent + 12:,} requests, the clients sent {sent:,}" in table.text(found)


def test_a_host_that_has_not_its_settings_back_is_said():
    found = {**documents.tune(), "restored": False}
    sentence = "The instance does not have its planned settings back; run site.yml"
    assert f"  ! {sentence}" in table.text(found)
    assert f"- `{sentence}`" in markdown.markdown(found)


def test_the_chosen_trial_is_marked():
    assert re.search(r"^  3 \* +physics +1,720 \(1,651 to 1,789\)", table.text(documents.tune()), re.MULTILINE)
    assert "| `3 *` | `physics` | `1,720 (1,651 to 1,789)` |" in markdown.markdown(documents.tune())


def test_a_tuning_shows_what_shards_win_by_settings():
    text = table.text(documents.tune_with_shards())
    chosen = "Requests in shards, with the chosen settings: cut requests into 4 shards of 175 items"
    planned = "Requests in shards, with the planned settings: not measured: the time was over"
    assert [line for line in text.splitlines() if line.startswith("Requests in shards")] == [chosen, planned]
    assert re.search(r"^  4 x 175 +13\.0 ms +18\.0 ms +10,400 ", text, re.MULTILINE)
    ticket = markdown.markdown(documents.tune_with_shards())
    assert f"`{chosen}`\n\n| cut | p50 |" in ticket
    assert f"`{planned}`" in ticket
    assert "| `4 x 175` | `13.0 ms` | `18.0 ms` |" in ticket


def test_nothing_of_another_machine_reaches_the_terminal_as_it_is():
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", table.text(documents.hostile()))


def test_nothing_of_another_machine_is_markup_in_a_ticket():
    text = markdown.markdown(documents.hostile())
    # Code spans are cut out; what is left was written here.
    left = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert not re.search(r"<|@all|alert|\x1b", left)


def test_no_text_of_another_machine_ends_a_cell():
    text = markdown.markdown({**documents.hostile(), "comparison": None, "shards": None})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in rows] == [len(wording.STAGE_COLUMNS) + 1] * 15


def test_markdown_has_the_ratios_and_what_differs():
    lines = markdown.markdown(documents.comparison()).splitlines()
    assert "| `p99` | `0.81 (0.76 to 0.87)` |" in lines
    assert "| `throughput` | `not known` |" in lines
    assert "- differs: `batching.max_batch_size was 32 and is 64`" in lines
    assert "Differences below 4 % cannot be told." in lines


@pytest.mark.parametrize("lay", [table.text, markdown.markdown])
def test_what_is_no_document_is_refused(lay):
    found = copy.deepcopy(documents.fixed())
    del found["stages"]
    with pytest.raises(WishError) as refused:
        lay(found)
    assert str(refused.value) == "document: is no benchmark: stages is missing; give the JSON file of a benchmark"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.ms(0), "0 ms"),
        (figures.ms(850), "0.85 ms"),
        (figures.ms(9_840), "9.8 ms"),
        (figures.ms(1_250_000), "1,250 ms"),
        (figures.ms(12_340_000), "12.3 s"),
        (figures.ms(None), "not known"),
        (figures.rate(0.5), "0.5"),
        (figures.rate(97.46), "97.5"),
        (figures.rate(1240.4), "1,240"),
        (figures.percent(0.004), "0.4 %"),
        (figures.percent(0.43), "43 %"),
        (figures.percent(None), "not known"),
        (figures.seconds(45), "45 s"),
        (figures.seconds(840), "14 min"),
        (figures.seconds(12_000), "3 h 20 min"),
        (figures.estimate({"us": 46_200, "low": 44_900, "high": None}), "46.2 ms (44.9 or more)"),
    ],
)
def test_figures_read_as_people_write_them(shown, expected):
    assert shown == expected
