# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lines of the terminal while a benchmark runs."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import progress_line

MEASURING = {"t": 12.4, "of": 65.0, "phase": "measure", "offered": 1000, "ok": 990, "errors": 10, "p99_us": 12_345}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (41.6, "42 s"), (119, "119 s"), (200, "3 min 20 s"), (7199, "119 min 59 s"), (9000, "2 h 30 min")],
)
def test_a_time_in_words(seconds, words):
    assert progress_line.duration(seconds) == words


@pytest.mark.parametrize(("us", "words"), [(340, "0.34 ms"), (12_345, "12.3 ms"), (999_499, "999 ms"), (1e6, "1 s")])
def test_a_latency_with_three_figures(us, words):
    assert progress_line.latency(us) == words


@pytest.mark.parametrize(("rate", "words"), [(0.5, "0.5/s"), (99.94, "99.9/s"), (12_345.6, "12,346/s")])
def test_a_rate_with_three_figures(rate, words):
    assert progress_line.rate(rate) == words


def test_a_stage_with_what_is_known_so_far():
    assert progress_line.line("double 3", 500.0, MEASURING, 130) == (
        "  double 3 (12 of 65 s): 500/s offered, 495/s answered, p99 12.3 ms so far, 10 errors, 2 min 10 s left"
    )


def test_a_stage_that_warms_up():
    assert progress_line.line("fixed", 500.0, {**MEASURING, "phase": "warmup", "errors": 0}, 60) == (
        "  fixed (12 of 65 s): 500/s offered, 495/s answered, warming up, 60 s left"
    )


def test_a_status_that_says_nothing():
    assert progress_line.line("fixed", 500.0, {}, 60) == "  fixed (0 of 0 s): 500/s offered, 0/s answered, 60 s left"


def test_a_line_every_few_seconds_of_the_generators_clock():
    told = []
    show = progress_line.Teller(told.append, every_s=5).of("fixed", 10.0, lambda: 100.0)
    for t in (1, 4.9, 5, 6, 9.9, 10.2, 11):
        show({"t": t, "of": 65})
    assert [line.partition(":")[0] for line in told] == ["  fixed (5 of 65 s)", "  fixed (10 of 65 s)"]
    assert told[0].endswith(", 95 s left")


def test_the_verdict_on_a_stage():
    stage = {
        "name": "fixed",
        "rate": 500.0,
        "verdict": "pass",
        "why": "all is well",
        "result": {"ok": 30_000, "duration_s": 60},
        "percentiles": {"p99": {"us": 12_345}},
    }
    assert progress_line.verdict(stage) == "  fixed: 500/s offered, 500/s answered, p99 12.3 ms: pass, all is well"
    stage["percentiles"] = {"p99": None}
    assert progress_line.verdict(stage) == "  fixed: 500/s offered, 500/s answered: pass, all is well"
