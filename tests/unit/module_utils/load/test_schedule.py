# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Moments and requests of a stage come from its seed, share its rate between processes, and need no memory."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from statistics import mean, pstdev

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.schedule import Share, choices, moments, schedule


def test_constant_moments_are_evenly_spaced_to_the_end_of_the_stage():
    assert list(moments(Share("constant", 4.0, 1.5, 1))) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_constant_moments_of_several_processes_interleave():
    shares = [Share("constant", 4.0, 1.5, 1, process, 3) for process in range(3)]
    each = [list(moments(share)) for share in shares]
    assert each == [[0.0, 0.75], [0.25, 1.0], [0.5, 1.25]]


def test_constant_moments_do_not_drift_over_a_day():
    (last,) = islice(moments(Share("constant", 3.0, 100_000.0, 1)), 259_200, 259_201)
    assert last == 86_400.0


def test_poisson_moments_are_known():
    found = list(islice(moments(Share("poisson", 100.0, 10.0, 7)), 3))
    assert found == pytest.approx([0.016045337, 0.035659240, 0.037141618])


def test_poisson_moments_have_the_gaps_of_their_rate():
    found = list(moments(Share("poisson", 500.0, 40.0, 3, 1, 2)))
    gaps = [after - before for before, after in zip(found, found[1:])]
    # Exponential: mean and deviation are equal, here the 4 ms of one of two processes.
    assert mean(gaps) == pytest.approx(0.004, rel=0.05)
    assert pstdev(gaps) == pytest.approx(0.004, rel=0.05)
    assert found == sorted(found)
    assert found[-1] < 40.0


def test_processes_together_offer_the_whole_rate_and_no_common_bursts():
    each = [list(moments(Share("poisson", 1000.0, 20.0, 5, process, 4))) for process in range(4)]
    assert sum(map(len, each)) == pytest.approx(20_000, rel=0.03)
    assert len(set().union(*each)) == sum(map(len, each))


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_the_same_seed_gives_the_same_schedule_and_another_another(arrivals):
    first, again, other = (list(schedule(Share(arrivals, 50.0, 4.0, seed), [1.0, 2.0])) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_requests_are_drawn_by_weight():
    drawn = Counter(islice(choices(Share("constant", 1.0, 1.0, 9), [1.0, 0.5, 2.5]), 40_000))
    assert [drawn[number] / 40_000 for number in range(3)] == pytest.approx([0.25, 0.125, 0.625], abs=0.01)


def test_one_request_is_always_the_first():
    assert set(islice(choices(Share("constant", 1.0, 1.0, 9), [1e-300]), 100)) == {0}


def test_a_week_is_no_more_work_than_its_first_moments():
    assert list(islice(schedule(Share("constant", 1e6, 604_800.0, 1), [1.0]), 2)) == [(0.0, 0), (1e-6, 0)]
