# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of an optimisation, and the sentences in which it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.measures import Task


def test_an_instance_alone_asks_for_freezing() -> None:
    found = wishes.read({"instance": "ranker"})
    assert (found.candidates, found.version, found.measure) == (("freeze",), None, True)
    assert found.task_of("scores") is None


def test_candidates_come_in_the_order_of_the_table_whatever_their_form() -> None:
    given = {"instance": "ranker", "requests": "r.jsonl", "task": "ranking"}
    assert wishes.read({**given, "candidates": "tflite_int8, freeze"}).candidates == ("freeze", "tflite_int8")
    assert wishes.read({**given, "candidates": ["xla"]}).candidates == ("xla",)
    assert wishes.read({**given, "candidates": "all"}).candidates == tuple(wishes.treatments())


def test_what_may_be_lost_is_that_of_the_wish() -> None:
    given = {"instance": "ranker", "candidates": "xla", "requests": "r.jsonl", "task": "ranking"}
    assert wishes.read(given).task_of("y") == Task("ranking", "y", 0.02, 0.05, 10, 0.05)
    given |= {"max_loss": "0.03", "max_top_loss": 0.1, "top": "50"}
    assert wishes.read(given).task_of("y") == Task("ranking", "y", 0.03, 0.1, 50, 0.03)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"instance": ""}, "instance: is missing; name one with -e instance=..."),
        ({"candidates": "freze"}, "candidates: the string 'freze' is no candidate; did you mean 'freeze'?"),
        (
            {"candidates": "tflite_int8"},
            "candidates: asks for tflite_int8, and without recorded requests nobody can tell what is lost; give"
            " recorded requests with -e requests=FILE, or ask for freeze alone",
        ),
        (
            {"candidates": "xla", "requests": "r.jsonl"},
            "task: is missing, and xla is judged by what callers use the answer for; give one of: classification,"
            " ranking, regression, embedding",
        ),
        ({"labels": "l.jsonl"}, "labels: belong to recorded requests; give them with -e requests=FILE"),
        (
            {"labels": "l.jsonl", "requests": "r.jsonl", "task": "embedding"},
            "labels: say nothing about an embedding; leave them out, or name the task that they belong to",
        ),
        ({"version": 0}, "version: is the number 0; give the number of a version that does not exist, 1 or more"),
        (
            {"version": "seven"},
            "version: is the string 'seven'; give the number of a version that does not exist, 1 or more",
        ),
        ({"max_loss": 0}, "max_loss: is the number 0; give a number from 0.0001 to 0.5"),
        ({"task": "rank"}, "task: is the string 'rank'; use one of: classification, ranking, regression, embedding"),
        ({"tolerances": "{"}, 'tolerances: is no JSON; write {"OUTPUT": {"atol": 0.01, "rtol": 0.001}}'),
        (
            {"tolerances": {"y": {"tol": 1}}},
            'tolerances.y: is a mapping; write {"OUTPUT": {"atol": 0.01, "rtol": 0.001}}',
        ),
        ({"model": "../x"}, "model: is the string '../x'; give a name"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WishError) as refused:
        wishes.read({"instance": "ranker", **given})
    assert str(refused.value) == sentence


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(WishError, match="and 2 more:"):
        wishes.read({"instance": "ranker", "top": 0, "max_loss": 2, "version": -1})


def test_a_slip_of_a_variable_is_refused() -> None:
    with pytest.raises(WishError) as refused:
        wishes.refuse_misspelt({"instance": "a", "candidate": "all", "mine": 1}, ())
    assert str(refused.value) == "candidate: is no variable of an optimisation; did you mean 'candidates'?"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WishError, match="is no file; give the path of a file of JSON lines on the controller"):
        wishes.require_file(str(tmp_path / "none.jsonl"))
