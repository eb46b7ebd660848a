# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Slices that ask in any order: the budget of the fleet holds, a failure stops all, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import split
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices.referee import Referee
from hypothesis import given, settings
from hypothesis import strategies as st

VERSION = "0.2.0"


class Slices:
    """Slices that go through their plays, one step at a time, and what the referee says to each."""

    def __init__(self, hosts, count, domain, most):
        dealt = split.deal(split.by_domain(hosts, domain), count)
        self.own = dict(enumerate(dealt, start=1))
        self.referee = Referee(self.own, domain, most, VERSION)
        self.left = {number: list(own) for number, own in self.own.items()}
        self.serial: dict[int, list[int]] = {}
        self.batch: dict[int, list[str]] = {}
        self.phase = dict.fromkeys(self.own, "new")
        self.begun: list[str] = []
        self.refused: dict[int, str] = {}

    def ask(self, number, **message):
        self.hear(self.referee.ask(number, number, message))

    def hear(self, answers):
        for number, answer in answers:
            if "refused" in answer:
                self.refused[number] = answer["refused"]
                self.end(number, "its turn was refused")
            elif "serial" in answer:
                self.serial[number] = list(answer["serial"])
                self.phase[number] = "planned"
            elif "leaving" in answer:
                assert set(self.batch[number]) <= set(answer["leaving"])
                self.begun += self.batch[number]
                self.phase[number] = "works"

    def end(self, number, why=""):
        if self.phase[number] != "ended":
            self.phase[number] = "ended"
            self.hear(self.referee.ended(number, why))

    def step(self, number):
        """Do what this slice does next; tell whether it could."""
        phase = self.phase[number]
        if phase == "new":
            self.phase[number] = "waits"
            self.ask(number, ask="ready", kind="serve", hosts=self.own[number])
        elif phase == "planned" and self.left[number]:
            size = self.serial[number].pop(0)
            self.batch[number], self.left[number] = self.left[number][:size], self.left[number][size:]
            self.phase[number] = "waits"
            self.ask(number, ask="take", kind="serve", hosts=self.batch[number])
        elif phase == "planned":
            self.end(number)
        elif phase == "works":
            self.phase[number] = "planned"
            self.ask(number, ask="give", kind="serve", hosts=self.batch[number])
        return phase not in ("waits", "ended")

    @property
    def able(self):
        return [number for number, phase in self.phase.items() if phase not in ("waits", "ended")]


FLEETS = st.tuples(
    st.integers(1, 24), st.integers(1, 5), st.integers(0, 4), st.lists(st.integers(1, 8), min_size=1, max_size=3)
)


def slices_of(fleet):
    count, slices, racks, most = fleet
    hosts = [f"h{number}" for number in range(count)]
    domain = {host: f"rack{place % racks}" for place, host in enumerate(hosts)} if racks else {}
    return Slices(hosts, slices, domain, most), domain, most


@settings(max_examples=300, deadline=None)
@given(FLEETS, st.data())
def test_whatever_the_order_of_events_the_budget_and_the_domain_hold_and_everybody_gets_a_turn(fleet, data):
    slices, domain, most = slices_of(fleet)
    turns = slices.referee.turns
    while slices.able:
        slices.step(data.draw(st.sampled_from(slices.able)))
        held = turns.held()
        stage = next(
            (place for place in range(len(most) - 1) if len(turns.done) < sum(most[: place + 1])), len(most) - 1
        )
        assert len(held) <= most[stage]
        assert len({domain.get(host) for host in held}) <= 1
        # The first batches of a list are counted from the first host on.
        assert stage == len(most) - 1 or len(slices.begun) <= sum(most[: stage + 1])
    assert set(slices.phase.values()) == {"ended"}
    assert not slices.refused
    assert sorted(turns.done) == sorted(slices.begun) == sorted(host for own in slices.own.values() for host in own)


@settings(max_examples=300, deadline=None)
@given(FLEETS, st.data())
def test_after_a_slice_has_failed_no_batch_begins_and_those_that_run_end(fleet, data):
    slices, _domain, _most = slices_of(fleet)
    steps = data.draw(st.integers(0, 30))
    while slices.able and steps:
        slices.step(data.draw(st.sampled_from(slices.able)))
        steps -= 1
    living = [number for number, phase in slices.phase.items() if phase != "ended"]
    if not living:
        return
    dead, before = data.draw(st.sampled_from(living)), list(slices.begun)
    working = [slices.batch[number] for number, phase in slices.phase.items() if phase == "works" and number != dead]
    # What was proven before ends well whatever its monitoring says.
    through = set(slices.own[dead]) <= set(slices.referee.turns.done)
    slices.end(dead, "slice failed (h0: it does not serve)")
    while slices.able:
        slices.step(data.draw(st.sampled_from(slices.able)))
    if not through:
        assert slices.begun == before
        assert all("slice failed (h0: it does not serve)" in told for told in slices.refused.values())
    assert {host for batch in working for host in batch} <= set(slices.referee.turns.done)
    assert set(slices.phase.values()) == {"ended"}


def two(domain=None, most=(2,)):
    made = Slices(["a", "b", "c", "d"], 2, domain or {}, list(most))
    return made, made.referee


def test_nobody_begins_before_all_have_planned_and_a_refusal_in_one_slice_ends_the_others():
    slices, referee = two()
    slices.step(1)
    assert slices.phase[1] == "waits"
    slices.end(2, "slice 2 has failed (b: its variables are wrong)")
    assert slices.refused[1] == (
        "the run stops, and no further batch begins: slice 2 has failed (b: its variables are wrong)"
    )
    assert referee.turns.begun == []


def planned(**options: Any):
    slices, referee = two(**options)
    slices.step(1)
    slices.step(2)
    return slices, referee


def test_a_batch_is_told_of_all_hosts_that_are_out_so_that_capacity_counts_the_fleet():
    _slices, referee = planned()
    assert referee.ask("x", 1, {"ask": "take", "kind": "serve", "hosts": ["a"]}) == [("x", {"leaving": ["a"]})]
    assert referee.ask("y", 2, {"ask": "take", "kind": "serve", "hosts": ["b"]}) == [("y", {"leaving": ["a", "b"]})]


def test_while_a_failed_task_may_still_be_made_good_other_batches_wait():
    _slices, referee = planned(most=(2,))
    referee.ask("x", 1, {"ask": "take", "kind": "serve", "hosts": ["a"]})
    referee.doubt(1)
    assert referee.ask("y", 2, {"ask": "take", "kind": "serve", "hosts": ["b"]}) == []
    answers = referee.ask("z", 1, {"ask": "give", "kind": "serve", "hosts": ["a"]})
    assert answers == [("z", {}), ("y", {"leaving": ["b"]})]


def test_a_worker_that_dies_while_it_waits_takes_no_turn():
    _slices, referee = planned(most=(1,))
    referee.ask("x", 1, {"ask": "take", "kind": "serve", "hosts": ["a"]})
    referee.ask("y", 2, {"ask": "take", "kind": "serve", "hosts": ["b"]})
    referee.withdrawn("y")
    assert referee.ask("z", 1, {"ask": "give", "kind": "serve", "hosts": ["a"]}) == [("z", {})]


def test_a_slice_whose_hosts_are_all_proven_stops_nobody_when_its_monitoring_fails():
    slices, referee = planned(most=(4,))
    for _step in range(2):
        slices.step(1)
    slices.end(1, "slice 1 has failed (a: its monitoring could not be applied)")
    assert referee.turns.why_stopped == ""
    slices.step(2)
    assert slices.phase[2] == "works"


def test_hosts_that_leave_a_run_early_keep_nobody_waiting():
    slices, referee = two(most=(1, 3))
    referee.ask(1, 1, {"ask": "ready", "kind": "serve", "hosts": ["a"]})
    slices.hear(referee.ask(2, 2, {"ask": "ready", "kind": "serve", "hosts": ["b", "d"]}))
    slices.end(1)
    assert referee.ask(2, 2, {"ask": "take", "kind": "serve", "hosts": ["b", "d"]}) == [(2, {"leaving": ["b", "d"]})]
    assert referee.turns.done == ["a", "c"]


def test_slices_share_what_they_know_when_all_have_handed_it_over_and_those_that_ended_are_not_waited_for():
    hosts = [f"h{number}" for number in range(6)]
    referee = Slices(hosts, 3, {}, [1]).referee
    assert referee.ask("x", 1, {"ask": "share", "kind": "records"}) == []
    assert referee.ended(2) == []
    shared = {"slices": [1, 3]}
    assert referee.ask("y", 3, {"ask": "share", "kind": "records"}) == [("x", shared), ("y", shared)]


def test_where_slices_only_read_one_that_fails_stops_nobody():
    referee = Referee({1: ["a"], 2: ["b"]}, {}, [2], VERSION, stops=False)
    referee.ask("x", 1, {"ask": "share", "kind": "records"})
    assert referee.ended(2, "slice 2 has failed (b: its variables are wrong)") == [("x", {"slices": [1]})]


def test_drivers_to_be_changed_end_all_slices_before_anything_is_changed():
    slices, referee = two()
    referee.ask(1, 1, {"ask": "ready", "kind": "gpus", "hosts": ["a"], "drivers": ["c"]})
    slices.hear(referee.ask(2, 2, {"ask": "ready", "kind": "gpus", "hosts": ["b", "d"], "drivers": []}))
    assert referee.drivers == ["c"]
    sentence = "the run stops, and no further batch begins before the drivers of c are changed, which is not sliced"
    assert slices.refused == {1: sentence, 2: sentence}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            {"ask": "hello", "version": "0.1.0", "hosts": ["a", "c"]},
            "slice 1: runs tfserving.fleet 0.1.0, and 0.2.0 conducts it; have one version in the collections path; "
            "nothing has been changed",
        ),
        (
            {"ask": "hello", "version": VERSION, "hosts": ["a", "b", "c"]},
            "b: is in no slice or in no fleet; nothing has been changed; name each host once",
        ),
        (
            {"ask": "ready", "kind": "serve", "hosts": ["a", "b"]},
            "b: is in slice 1 and in another one; name each host once",
        ),
        ({"ask": "take", "kind": "serve", "hosts": ["a"]}, "a: was not announced for its turn; run it again"),
        ({"ask": "take", "kind": "serve", "hosts": "a"}, "slice 1: sends a string as hosts; run it again"),
        ({"ask": "leave"}, "tfserving-fleet: slice 1 asks for what is not known; run it again"),
    ],
)
def test_a_slice_that_does_not_fit_is_refused_in_a_sentence_and_ends_the_others(message, sentence):
    slices, referee = two()
    slices.step(2)
    answers = dict(referee.ask("x", 1, message))
    assert answers["x"] == {"refused": sentence}
    assert answers[2] == {"refused": f"the run stops, and no further batch begins: {sentence}"}
