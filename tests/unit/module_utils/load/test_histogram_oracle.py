# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Quantiles agree with those of HdrHistogram, which others measure latency with."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import LONGEST, Histogram
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

US = st.one_of(st.integers(1, 2000), st.integers(1, LONGEST))


@given(st.lists(US, min_size=1, max_size=200), st.data())
def test_quantiles_agree_with_hdrhistogram(values, data):
    ours, theirs = Histogram(), HdrHistogram(1, LONGEST, 3)
    for value in values:
        ours.record(value)
        theirs.record_value(value)
    # Whole ranks: between two, it takes the nearer one, and ours the higher one.
    rank = data.draw(st.integers(1, len(values)))
    expected = theirs.get_value_at_percentile(100 * rank / len(values))
    assert ours.at_rank(rank) == ours.quantile(rank / len(values)) == pytest.approx(expected, rel=0.01)
    assert ours.mean == pytest.approx(theirs.get_mean_value(), rel=0.01)
