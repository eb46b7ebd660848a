# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A failed run ends with what is in force, instance by instance."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.take_back import sentence


def one(name, state, problem=""):
    return {"name": name, "state": state, "problem": problem}


SENTENCES = [
    ([], "Nothing served before this run, and nothing is left running."),
    (
        [one("main", "serves"), one("second", "serves")],
        "The previous configuration is back in force: main and second serve as before this run.",
    ),
    (
        [one("main", "serves"), one("extra", "removed")],
        "The previous configuration is back in force: main serves as before this run;"
        " extra was not there before this run: it is stopped and its files are gone.",
    ),
    (
        [one("extra", "removed")],
        "Nothing served before this run, and nothing is left running:"
        " extra was not there before this run: it is stopped and its files are gone.",
    ),
    (
        [one("main", "failed", "the unit is failed, exit status 1"), one("second", "serves")],
        "The previous configuration is back in place but not wholly in force: second serves as before this run;"
        " main has its previous files but does not serve: the unit is failed, exit status 1.",
    ),
    (
        [one("main", "idle")],
        "The previous configuration is back in force: main has its previous files, with which it did not serve before"
        " this run either.",
    ),
    (
        [one("a", "kept"), one("b", "serves")],
        "In force is: b serves as before this run; a keeps its new files and serves with them, which it did not before"
        " this run.",
    ),
]


@pytest.mark.parametrize(("outcomes", "words"), SENTENCES)
def test_the_sentence_says_what_became_of_each_instance(outcomes, words):
    assert sentence(outcomes) == words
