# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The page on samples: its example is one, and its refusals are those of the code."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import sentences
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import samples
from benchmark_models import known
from repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "samples.md").read_text(encoding="utf-8")
GOOD = '{"model": "ranker", "instances": [{"user": "ann", "age": 40, "features": [0.5, 1]}]}'
# line of the file -> its content
BAD = {
    2: '{"instances": }',
    5: GOOD.replace("}]}", '}, {"user": 5, "age": 40, "features": [0.5, 1]}]}'),
    6: '{"model": "ranker", "instances": [{"user": "ann", "features": [0.5, 1]}]}',
    7: '{"model": "ranker", "inputs": {"user": ["ann"], "age": [40], "features": [[1, 2, 3]]}}',
    8: '{"model": "ranker", "inputs": {"user": ["a", "b"], "age": [4, 5], "features": [[1, 2], [3]]}}',
    9: GOOD.replace('"ranker"', '"rankr"'),
    10: f'{GOOD[:-1]}, "weight": 0}}',
}


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_the_example_is_a_file_of_samples():
    found = samples.of_content("samples.jsonl", block("json").encode(), known())
    assert [(each["model"], each["items"], each["weight"]) for each in found] == [
        ("ranker", 1, 9.0),
        ("ranker", 2, 1.0),
        ("digits", 1, 1.0),
    ]


def test_the_refusals_are_those_of_the_code():
    content = "\n".join(BAD.get(number, GOOD) for number in range(1, 12))
    with pytest.raises(WishError) as error:
        samples.of_content("samples.jsonl", content.encode(), known())
    assert sentences(error.value) == block("text").splitlines()


def test_the_page_names_every_key_and_the_limits():
    assert all(f"`{key}`" in PAGE for key in samples.OF_SAMPLE)
    assert f"{samples.MOST_BYTES >> 20} MiB, {samples.MOST_SAMPLES:,} samples" in PAGE
    assert f"{samples.MOST_LINE_BYTES >> 20} MiB a line" in PAGE
