# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A few hundred of the fuzzer's inventories, the same ones in every run; `make fuzz` runs many, each time others."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from inventory_fuzz import MACHINES, base, inventories, outcome

seen: Counter[str] = Counter()


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(inventories(), st.sampled_from(MACHINES))
def check_each(variables, topology):
    seen[outcome(variables, topology)[0]] += 1


def test_every_inventory_is_planned_and_read_back_or_refused_in_a_sentence():
    check_each()
    # Both have to be there for the test to mean anything.
    assert min(seen["planned"], seen["refused"]) >= 40, seen


@pytest.mark.parametrize("topology", MACHINES)
def test_the_inventory_that_all_others_come_from_is_planned(topology):
    assert outcome(base(), topology)[0] == "planned"
