# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What came between two polls: sums of gateways, reloads, restarts, and sources that cannot be used."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.samples import ARMS, COUNTERS, Counts, between
from hypothesis import given
from hypothesis import strategies as st

GATEWAYS = ("edge-1", "edge-2")


def counters(calls=0, errors=0, slow=0, golden_calls=0, golden_errors=0):
    return dict(zip(COUNTERS, (calls, errors, slow, golden_calls, golden_errors)))


def gateway(canary=None, control=None, process="1"):
    return {"process": process, "canary": canary or counters(), "control": control or counters()}


def reading(gateways, servers=None):
    return {"gateways": gateways, "servers": servers or {}}


def server(calls=0, arm="canary", process="a"):
    return {"arm": arm, "calls": calls, "process": process}


def test_several_gateways_are_summed_and_golden_calls_counted_apart():
    before = reading({"edge-1": gateway(counters(100, 1)), "edge-2": gateway(counters(50))})
    after = reading(
        {
            "edge-1": gateway(counters(160, 3, 2, 10, 1), counters(40, 1)),
            "edge-2": gateway(counters(70, 1, 0, 5), counters(60)),
        }
    )
    delta, known = between(before, after, GATEWAYS)
    assert delta.canary == Counts(calls=80, errors=3, slow=2, golden_calls=15, golden_errors=1)
    assert delta.control == Counts(calls=100, errors=1)
    assert known == after
    assert not delta.broken


def test_the_first_answer_of_a_gateway_counts_nothing():
    delta, known = between({}, reading({"edge-1": gateway(counters(1000, 900))}), ["edge-1"])
    assert delta.canary == Counts()
    assert known["gateways"]["edge-1"]["canary"]["calls"] == 1000


@pytest.mark.parametrize("process", ["2", ""])
def test_a_gateway_that_was_reloaded_counts_from_zero_and_blames_nobody(process):
    before = reading({"edge-1": gateway(counters(1000, 10))})
    after = reading({"edge-1": gateway(counters(30, 2), process=process)})
    delta, _ = between(before, after, ["edge-1"])
    assert delta.canary == Counts(calls=30, errors=2)
    assert delta.restarted == {arm: [] for arm in ARMS}
    assert delta.notes == ["gateway edge-1 began to count anew"]


def test_a_gateway_that_counts_less_and_has_not_begun_anew_is_broken_and_counts_nothing_twice():
    before = reading({"edge-1": gateway(counters(1000, 10))})
    less = reading({"edge-1": gateway(counters(900, 9))})
    delta, known = between(before, less, ["edge-1"])
    assert (delta.broken, delta.canary) == (["gateway edge-1 has counted fewer calls than before"], Counts())
    later, _ = between(known, reading({"edge-1": gateway(counters(905, 9))}), ["edge-1"])
    assert (later.broken, later.canary) == ([], Counts(calls=5))


def test_a_reload_is_noticed_where_the_new_process_has_counted_more_already():
    before = reading({"edge-1": gateway(counters(10))})
    delta, _ = between(before, reading({"edge-1": gateway(counters(30), process="2")}), ["edge-1"])
    assert delta.canary.calls == 30


def test_what_a_silent_gateway_counted_comes_with_its_next_answer():
    first = reading({"edge-1": gateway(counters(100))})
    silent, known = between(first, reading({}), ["edge-1"])
    assert silent.broken == ["gateway edge-1 does not answer"]
    assert silent.canary == Counts()
    later, _ = between(known, reading({"edge-1": gateway(counters(170, 4))}), ["edge-1"])
    assert later.canary == Counts(calls=70, errors=4)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("up", "gateway edge-1 does not answer with counters"),
        ({}, "gateway edge-1 has no count of calls of the canary: it is nothing"),
        (
            {"failed": "the journal cannot be read (\x1b[31mno)"},
            "gateway edge-1 does not answer (the journal cannot be read (\\x1b[31mno))",
        ),
        (
            gateway(counters(errors="many")),
            "gateway edge-1 has no count of errors of the canary: it is the string 'many'",
        ),
        (gateway(counters(-1)), "gateway edge-1 has no count of calls of the canary: it is the number -1"),
        (gateway(counters(True)), "gateway edge-1 has no count of calls of the canary: it is the boolean true"),
        (gateway(counters(2**60)), f"gateway edge-1 has no count of calls of the canary: it is the number {2**60}"),
        (gateway(counters(5, 6)), "gateway edge-1 counts more errors (6) than calls (5) of the canary"),
        (
            gateway(None, counters(9, golden_errors=1)),
            "gateway edge-1 counts more golden_errors (1) than golden_calls (0) of the control",
        ),
    ],
)
def test_nonsense_of_a_gateway_is_a_broken_source(answer, sentence):
    before = reading({"edge-1": gateway(counters(100))})
    delta, known = between(before, reading({"edge-1": answer}), ["edge-1"])
    assert delta.broken == [sentence]
    assert known == before
    assert delta.canary == Counts()


@pytest.mark.parametrize("after", [server(5), server(500, process="b")])
def test_a_server_that_begins_anew_counts_against_its_arm(after):
    before = reading({}, {"gpu-1/ranker": server(100), "gpu-2/ranker": server(100, "control")})
    delta, _ = between(before, reading({}, {"gpu-1/ranker": after, "gpu-2/ranker": server(120, "control")}), [])
    assert delta.restarted == {"canary": ["gpu-1/ranker"], "control": []}


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "server gpu-1 does not answer"),
        ({}, "server gpu-1 is of neither arm"),
        ({"arm": "canary"}, "server gpu-1 has no count of calls: it is nothing"),
        ([], "server gpu-1 is of neither arm"),
    ],
)
def test_nonsense_of_a_server_is_a_broken_source_and_no_restart(answer, sentence):
    delta, _ = between(reading({}, {"gpu-1": server(9)}), reading({}, {"gpu-1": answer}), [])
    assert delta.broken == [sentence]
    assert delta.restarted["canary"] == []


def test_a_name_from_outside_is_shown_harmless():
    delta, _ = between({}, reading({"edge\x1b[2J" + "x" * 500: None}), [])
    assert len(delta.broken[0]) < 150
    assert delta.broken[0].isprintable()


def test_an_error_counted_before_its_call_is_no_nonsense():
    before = reading({"edge-1": gateway(counters(100, 0))})
    delta, _ = between(before, reading({"edge-1": gateway(counters(100, 1))}), ["edge-1"])
    assert delta.canary == Counts()


nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["gateways", "servers", "edge-1", "canary", "control", *COUNTERS]), inner)
    ),
)


@given(nonsense, nonsense)
def test_nothing_that_a_source_says_ends_in_a_traceback(one, other):
    first, known = between({}, reading({"edge-1": one}, {"s": other}), ["edge-1"])
    second, _ = between(known, reading({"edge-1": other}, {"s": one}), ["edge-1"])
    assert first.canary == Counts()
    assert min(second.canary.calls, second.control.calls) >= 0
    json.dumps(known, allow_nan=True)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 5), st.booleans()), max_size=20))
def test_all_calls_are_counted_over_any_polls_but_those_lost_at_a_reload(polls):
    calls = errors = 0
    known = reading({"edge-1": gateway()})
    expected = Counts()
    for more, wrong, reloads in polls:
        if reloads:
            calls = errors = 0
        wrong = min(wrong, more)
        calls, errors = calls + more, errors + wrong
        expected += Counts(more, wrong)
        process = str(polls) if not reloads else f"{calls} {errors} {expected}"
        delta, known = between(
            known, reading({"edge-1": gateway(counters(calls, errors), process=process)}), ["edge-1"]
        )
        assert delta.canary.errors <= delta.canary.calls
