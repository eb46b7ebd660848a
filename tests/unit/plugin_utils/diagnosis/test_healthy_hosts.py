# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts that are well, whatever they do: the whole catalogue finds no cause."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import rank
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from evidence_cases import peers
from healthy_cases import WELL

# What makes them a little worse, which is said and is no cause.
SAID = {
    "with few calls",
    "with a model larger than estimated",
    "with callers that hedge",
    "with a GPU at full power",
    "with a call of a minute",
}


@pytest.mark.parametrize("state", sorted(WELL.keys() - SAID))
def test_a_host_that_is_well_ends_without_findings(state):
    found = rank.ranked([Case(WELL[state](), peers=peers())])
    assert [(each.fault.id, each.verdict, each.judged.test) for each in found.findings] == []


@pytest.mark.parametrize("state", sorted(WELL))
def test_a_host_that_is_well_has_no_cause(state):
    found = rank.ranked([Case(WELL[state](), peers=peers())])
    told = [
        (each.fault.id, each.judged.instance, each.judged.test) for each in found.findings if each.verdict == "cause"
    ]
    assert told == []
    broken = [each.fault.id for each in found.unknown if "unexpected form" in each.judged.test]
    assert broken == []
