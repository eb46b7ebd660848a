# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The 22 command lines of other people: each has the findings that it must have, and no others."""

from __future__ import annotations

import adopted_servers as old
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.case import cases
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.findings import findings


def found(example):
    return findings(cases(old.survey(example.server)))


@pytest.mark.parametrize("example", old.EXAMPLES, ids=lambda each: each.name)
def test_each_example_has_its_findings_and_no_others(example):
    told = sorted(each.id for each in found(example) if each.severity != "note")
    assert tuple(told) == example.finds


@pytest.mark.parametrize("example", old.FAULTY, ids=lambda each: each.name)
def test_each_faulty_example_is_told_in_words(example):
    texts = [each.text for each in found(example)]
    for sentence in example.says:
        assert any(sentence in text for text in texts), (sentence, texts)


@pytest.mark.parametrize("example", old.CLEAN, ids=lambda each: each.name)
def test_in_a_clean_example_every_word_counts(example):
    (case,) = cases(old.survey(example.server))
    assert [word.text for word in case.line.words if word.fate != "counts" and not word.entrypoint] == []
    assert not [each for each in found(example) if each.severity in ("wrong", "no_effect")]
