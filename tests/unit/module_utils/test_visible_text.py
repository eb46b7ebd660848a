# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Text from outside that must not act where it is shown."""

from __future__ import annotations

import unicodedata

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import (
    shortened,
    visible,
    visible_data,
    visible_lines,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DT_FLOAT [2,3] · 5 µs", "DT_FLOAT [2,3] · 5 µs"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\r\nlab-b  forged\t", r"a\r\nlab-b  forged\t"),
        ("\x00\x7f\x9b31m\x85", r"\x00\x7f\x9b31m\x85"),
        ("a\u202eb\u2066c\u200bd\ufeff", r"a\u202eb\u2066c\u200bd\ufeff"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("\udc80\U000e0001", r"\udc80\U000e0001"),
    ],
)
def test_what_would_act_is_spelt_out(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_nothing_that_acts_is_left(text):
    kinds = {unicodedata.category(each) for each in visible(text)}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_lines_of_our_own_stay_lines():
    assert visible_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"


def test_long_texts_are_cut_and_the_cut_is_marked():
    assert shortened("abcdef", 4) == "abc…"


def test_plain_data_is_made_visible_throughout():
    assert visible_data({"a\n": ["\x1b", 1, None], "b": ("\r",)}) == {r"a\n": [r"\x1b", 1, None], "b": [r"\r"]}


def test_a_refusal_is_one_line_whatever_it_repeats():
    assert str(WishError("tfserving_models[0]", "is 'a\n\x1b[2J'", "mend it")) == (
        r"tfserving_models[0]: is 'a\n\x1b[2J'; mend it"
    )
