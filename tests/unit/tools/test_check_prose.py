# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which lines of a page have to be wrapped, and which phrases are refused."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CHECK = runpy.run_path(str(Path(__file__).resolve().parents[3] / "tools" / "check_prose.py"))
LONG = "word " * 25  # 125 characters


def problems(text: str, is_markdown: bool = True) -> list[tuple[int, str]]:
    return list(CHECK["problems"](text, is_markdown))


def test_a_long_line_is_refused_with_its_number():
    assert problems(f"short\n{LONG}") == [(2, "has 125 characters; wrap it at 120")]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 60 + " " + "y" * 59,
        f"| {LONG} |",
        "https://example.com/" + "x" * 120,
        f"<!-- BEGIN_ANSIBLE_DOCS -->\n{LONG}\n<!-- END_ANSIBLE_DOCS -->",
    ],
    ids=["120 characters", "table", "address", "generated"],
)
def test_these_lines_may_stay(text):
    assert problems(text) == []


def test_lines_after_a_generated_part_keep_their_numbers():
    text = f"<!-- BEGIN_ANSIBLE_DOCS -->\na\nb\n<!-- END_ANSIBLE_DOCS -->\n{LONG}"
    assert [number for number, _problem in problems(text)] == [5]


def test_a_phrase_is_refused_in_markdown_and_specs_alike():
    expected = [(1, '"belongs into"; write: belongs in')]
    assert problems("It belongs into the inventory.") == problems("It belongs into x.", is_markdown=False) == expected


def test_yaml_is_not_measured():
    assert problems(LONG, is_markdown=False) == []
