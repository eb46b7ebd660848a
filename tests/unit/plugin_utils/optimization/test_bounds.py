# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Bounds of shares against the binomial distribution itself."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.statistics import binomial
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import bounds
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("share", "requests", "most"),
    [(0.0, 500, 0.010707), (0.008, 500, 0.023873), (0.5, 100, 0.613292), (1.0, 50, 1.0)],
)
def test_the_upper_bound_is_wilsons(share: float, requests: int, most: float) -> None:
    assert bounds.upper(share, requests) == pytest.approx(most, abs=2e-5)


@pytest.mark.parametrize("truth", [0.011, 0.015, 0.02, 0.03, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("requests", [500, 1000, 3000])
def test_a_loss_that_is_too_large_passes_once_in_a_hundred_or_hardly_more(truth: float, requests: int) -> None:
    first, below = binomial(requests, truth)
    passing = [k for k in range(requests) if bounds.upper(k / requests, requests) < truth]
    by_luck = below[passing[-1] - first] if passing and passing[-1] >= first else 0.0
    # Shares come in steps of one request, so the bound is passed by a little more than 1 % at the worst of them.
    assert by_luck <= 0.0125


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_a_share_lies_within_its_bounds(share: float, requests: int) -> None:
    assert 0 <= bounds.lower(share, requests) <= share + 1e-9
    assert share - 1e-9 <= bounds.upper(share, requests) <= 1


def test_nothing_proves_nothing() -> None:
    assert bounds.upper(0.0, 0) == 1.0
    assert bounds.lower(1.0, 0) == 0.0
    assert bounds.mean_upper([], []) == float("inf")
    assert bounds.mean_upper([1.0], [1.0]) == float("inf")


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=50))
def test_weights_are_worth_no_more_than_their_number(weights: list[float]) -> None:
    assert 1 - 1e-9 <= bounds.effective(weights) <= len(weights) + 1e-6


def test_as_many_requests_as_it_says_prove_a_share() -> None:
    enough = bounds.needed(0.008, 0.02)
    assert enough is not None
    assert bounds.upper(0.008, enough) <= 0.02 < bounds.upper(0.008, enough - 1)
    assert bounds.needed(0.02, 0.02) is None
