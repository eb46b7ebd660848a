# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The engine offers every request at its moment, loses none, and counts latency from the intended moment.

Time is simulated: the server of these tests answers at the moments that a test names.
"""

from __future__ import annotations

import heapq
from itertools import count

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.engine import (
    ALWAYS_CHECKED,
    LARGE_REPLY,
    Engine,
    Terms,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.load.schedule import Share, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils.load.tally import Count, Tally

BEGAN = 1000.0


class Simulation:
    """An engine on a clock of its own, against a server that is a function of the request's number and moment."""

    def __init__(self, share, serve, *, terms=None, weights=(1.0,)):
        self.now = BEGAN
        self.tally = Tally()
        self.whole = Count()
        self.terms = terms or Terms(
            [None] * len(weights), [8] * len(weights), warmup=0.0, timeout=10.0, most_open=20_000
        )
        self.engine = Engine(schedule(share, weights), self.terms, self.tally, lambda: self.now, BEGAN)
        self.engine.send = self._send
        self.engine.cancel = lambda call: self.cancelled.append(call.number)
        self.cancelled = []
        self.sent = []
        self._serve = serve
        self._events = []
        self._order = count()

    def at(self, moment, event):
        heapq.heappush(self._events, (moment, next(self._order), event))

    def _send(self, call):
        self.sent.append(self.now - BEGAN)
        answer = self._serve(call.number, self.now - BEGAN)
        if answer is not None:
            after, error, reply = answer
            self.at(self.now + after, lambda: self.engine.finish(call, error, reply))

    def pump(self):
        again = self.engine.advance()
        if again is not None:
            self.at(again, self.pump)

    def run(self):
        """Run until nothing is left to happen, then count everything together."""
        self.at(BEGAN, self.pump)
        while self._events:
            moment, _, event = heapq.heappop(self._events)
            self.now = max(self.now, moment)
            event()
            self.engine.sweep()
        self.now += self.terms.timeout
        self.engine.sweep()
        self.collect()
        assert self.whole.offered == self.whole.ok + self.whole.failed
        assert not self.engine.open
        return self.whole

    def collect(self):
        for _, each in self.tally.take():
            self.whole.add(each)


def ok(after):
    return lambda number, moment: (after, None, b"")


def test_latency_is_that_of_the_server_where_nothing_waits():
    found = Simulation(Share("constant", 100.0, 2.0, 1), ok(0.005)).run()
    assert (found.offered, found.sent, found.ok, found.late, found.items) == (200, 200, 200, 0, 1600)
    assert found.histogram.min == found.histogram.max == 5000


def test_requests_leave_at_their_moments_whatever_the_replies_do():
    simulation = Simulation(Share("constant", 100.0, 1.0, 1), ok(9.0))
    simulation.run()
    assert simulation.sent == pytest.approx([number / 100 for number in range(100)])


def test_a_stall_of_the_server_shows_in_p99():
    # From second 2 to 3 nothing is answered; all that was due meanwhile is answered at 3.
    found = Simulation(
        Share("constant", 100.0, 20.0, 1), lambda number, at: (3.0 - at if 2 <= at < 3 else 0.001, None, b"")
    ).run()
    assert found.ok == 2000
    # 100 of 2,000 requests met the stall, the k-th from its end waited k * 10 ms: rank 1980 is the 80th of them.
    assert found.histogram.quantile(0.99) == pytest.approx(800_000, rel=0.01)
    assert found.histogram.max == 1_000_000


def test_a_stall_of_the_client_is_late_and_counts_in_full():
    simulation = Simulation(Share("constant", 100.0, 3.0, 1), ok(0.001))
    simulation.at(BEGAN + 1.0, lambda: setattr(simulation, "now", BEGAN + 2.0))
    found = simulation.run()
    assert (found.offered, found.ok) == (300, 300)
    assert found.late == 100
    assert found.histogram.max == pytest.approx(1_000_000, rel=0.02)


def test_a_request_over_its_time_is_an_error_once_and_given_up():
    simulation = Simulation(
        Share("constant", 10.0, 1.0, 1), lambda number, at: (12.0 if number % 2 else 0.1, None, b"")
    )
    found = simulation.run()
    assert (found.ok, found.errors, found.answered) == (5, {"timeout": 5}, 5)
    # The reply to the first comes before anybody has looked, and is late all the same.
    assert simulation.cancelled == [3, 5, 7, 9]


def test_a_request_without_any_reply_is_a_timeout():
    assert Simulation(Share("constant", 10.0, 1.0, 1), lambda number, at: None).run().errors == {"timeout": 10}


def test_errors_are_counted_by_kind_and_have_no_latency():
    kinds = ["UNAVAILABLE", "HTTP 503", "connection", None]
    found = Simulation(Share("constant", 10.0, 2.0, 1), lambda number, at: (0.001, kinds[number % 4], b"")).run()
    assert found.errors == {"UNAVAILABLE": 5, "HTTP 503": 5, "connection": 5}
    assert (found.ok, found.answered, found.histogram.total) == (5, 15, 5)


def test_beyond_the_most_in_flight_a_request_is_an_error_and_not_dropped():
    terms = Terms([None], [1], warmup=0.0, timeout=10.0, most_open=30)
    found = Simulation(Share("constant", 100.0, 1.0, 1), ok(5.0), terms=terms).run()
    assert (found.offered, found.sent, found.ok, found.errors) == (100, 30, 30, {"not_sent": 70})


def test_a_request_whose_time_is_over_before_it_is_sent_is_an_error():
    simulation = Simulation(Share("constant", 10.0, 2.0, 1), ok(0.001))
    simulation.at(BEGAN + 1.05, lambda: setattr(simulation, "now", BEGAN + 11.55))
    found = simulation.run()
    assert (found.offered, found.ok, found.errors) == (20, 15, {"not_sent": 5})


def test_warm_up_is_counted_apart():
    terms = Terms([None], [1], warmup=0.5, timeout=10.0, most_open=20_000)
    simulation = Simulation(Share("constant", 10.0, 2.0, 1), ok(0.001), terms=terms)
    taken = {}
    simulation.tally.take = lambda: taken.update(simulation.tally.counts) or []
    simulation.run()
    assert {key: each.ok for key, each in taken.items()} == {(0, False): 5, (0, True): 5, (1, True): 10}


def test_a_reply_that_fails_its_check_is_an_error():
    terms = Terms(
        [lambda reply: None if reply == b"right" else "wrong_reply"], [4], warmup=0.0, timeout=10.0, most_open=20_000
    )
    replies = [b"right", b"wrong"]
    found = Simulation(
        Share("constant", 10.0, 1.0, 1), lambda number, at: (0.001, None, replies[number % 2]), terms=terms
    ).run()
    assert (found.ok, found.items, found.errors, found.answered) == (5, 20, {"wrong_reply": 5}, 10)


def test_large_replies_are_all_checked_at_first_and_then_one_in_sixteen():
    checked = []
    terms = Terms([checked.append], [1], warmup=0.0, timeout=10.0, most_open=20_000)
    large = b"x" * (LARGE_REPLY + 1)
    Simulation(Share("constant", 1000.0, 0.42, 1), lambda number, at: (0.0, None, large), terms=terms).run()
    assert len(checked) == ALWAYS_CHECKED + 20


def test_replies_get_their_turn_when_many_requests_are_due():
    simulation = Simulation(Share("constant", 10_000.0, 1.0, 1), ok(0.0))
    simulation.now = BEGAN + 0.5
    again = simulation.engine.advance()
    assert len(simulation.sent) == 32
    assert again < simulation.now


def test_an_interrupted_stage_counts_what_was_in_flight():
    simulation = Simulation(Share("constant", 10.0, 100.0, 1), ok(5.0))
    simulation.at(BEGAN + 2.05, simulation.engine.stop)
    simulation.at(BEGAN + 6.0, simulation.engine.abandon)
    found = simulation.run()
    assert (found.offered, found.ok, found.errors) == (21, 10, {"interrupted": 11})


def test_what_an_engine_keeps_does_not_grow_with_the_stage():
    simulation = Simulation(Share("poisson", 200.0, 600.0, 1), ok(0.02))
    kept = []

    def tick():
        kept.append(len(simulation.tally.counts) + simulation.engine.open)
        simulation.collect()

    for second in range(1, 600):
        simulation.at(BEGAN + second, tick)
    found = simulation.run()
    assert max(kept) < 30
    assert found.ok == pytest.approx(120_000, rel=0.02)


def test_a_request_of_several_calls_has_ended_with_the_last_of_them():
    answers = {1: 0.005, 2: 0.030, 3: 0.010}
    terms = Terms([None], [6], warmup=0.0, timeout=10.0, most_open=100, copies=[3])
    found = Simulation(
        Share("constant", 10.0, 0.1, 1), lambda number, _moment: (answers[number], None, b""), terms=terms
    ).run()
    assert (found.offered, found.sent, found.ok, found.items) == (1, 1, 1, 6)
    assert found.histogram.min == found.histogram.max == 30_000


def test_one_call_that_fails_fails_its_request_once():
    terms = Terms([None], [6], warmup=0.0, timeout=10.0, most_open=100, copies=[3])
    errors = {1: None, 2: "UNAVAILABLE", 3: "connection"}
    found = Simulation(
        Share("constant", 10.0, 0.1, 1), lambda number, _moment: (0.01 * number, errors[number], b""), terms=terms
    ).run()
    assert (found.offered, found.ok, found.errors) == (1, 0, {"UNAVAILABLE": 1})


def test_a_call_without_an_answer_times_its_request_out():
    terms = Terms([None], [6], warmup=0.0, timeout=0.5, most_open=100, copies=[2])
    simulation = Simulation(
        Share("constant", 10.0, 0.1, 1),
        lambda number, _moment: (0.01, None, b"") if number == 1 else None,
        terms=terms,
    )
    assert simulation.run().errors == {"timeout": 1}
    assert simulation.cancelled == [2]
