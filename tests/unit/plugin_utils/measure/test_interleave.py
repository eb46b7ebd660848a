# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The order of the blocks of a comparison."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.interleave import order, schedule, sides
from hypothesis import given
from hypothesis import strategies as st


@given(pairs=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_each_pair_holds_both_sides_and_each_four_go_there_and_back(pairs, seed):
    found = order(pairs, seed)
    assert len(found) == 2 * pairs
    for begin in range(0, len(found), 4):
        four = found[begin : begin + 4]
        assert four in {tuple("abba"), tuple("baab"), tuple("ab"), tuple("ba")}


def test_the_lot_decides_and_the_seed_the_lot():
    assert order(10, 1) == order(10, 1)
    assert {order(4, seed)[0] for seed in range(20)} == {"a", "b"}
    assert len({order(8, seed) for seed in range(40)}) > 8


def test_an_even_drift_weighs_on_both_sides_alike():
    for seed in range(10):
        found = order(10, seed)
        places = {side: sum(place for place, each in enumerate(found) if each == side) for side in "ab"}
        assert places["a"] == places["b"]


@pytest.mark.parametrize(("wanted", "pairs", "seconds"), [(300, 10, 30), (120, 4, 30), (140, 4, 35), (310, 10, 31)])
def test_blocks_are_as_short_as_may_be_and_no_shorter(wanted, pairs, seconds):
    found = schedule(wanted, 1)
    assert (len(found.order), found.seconds) == (2 * pairs, seconds)


def test_too_short_a_comparison_is_refused():
    with pytest.raises(ValueError, match=r"^a comparison takes at least 120 s a side, 4 blocks of 30 s, not 119 s$"):
        schedule(119, 1)


def test_the_blocks_of_a_pair_stay_together():
    assert sides(tuple("abbaba"), [1, 2, 3, 4, 5, 6]) == ([1, 4, 6], [2, 3, 5])
