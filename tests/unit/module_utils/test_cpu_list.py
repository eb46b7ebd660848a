# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""CPU lists in the kernel's notation."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("\n", []),
        ("5", [5]),
        ("0-3,8", [0, 1, 2, 3, 8]),
        ("0-3,8\n", [0, 1, 2, 3, 8]),
        (" 8 , 0-1 ", [0, 1, 8]),
        ("3,1,3,2-3", [1, 2, 3]),
        ("0,,2,", [0, 2]),
        ("7-7", [7]),
        ("0-6:2/4", [0, 1, 4, 5]),
        ("0-1023:2/256", [0, 1, 256, 257, 512, 513, 768, 769]),
        ("0-31:8", [0, 8, 16, 24]),
        ("3-9:1/3", [3, 6, 9]),
    ],
)
def test_a_list_is_read_as_the_kernel_reads_it(text, numbers):
    assert cpu_list.parse(text) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-", "'0-' is not a number or a range"),
        ("a-b", "'a-b' is not a number or a range"),
        ("0,-1", "'-1' is not a number or a range"),
        ("0 1", "'0 1' is not a number or a range"),
        ("1:2/4", "'1:2/4' is not a number or a range"),
        ("1,²", "'²' is not a number or a range"),
        ("3-1", "'3-1' runs backwards"),
        ("0-7:3/2", "'0-7:3/2' must take at least one and at most all numbers of each group"),
        ("0-7:0/2", "'0-7:0/2' must take at least one and at most all numbers of each group"),
        ("0-9999999999", "goes beyond 65535"),
    ],
)
def test_a_list_that_the_kernel_would_refuse_is_refused_by_its_part(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cpu_list.parse(text)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([4], "4"), ([0, 1], "0-1"), ([8, 0, 2, 1, 3], "0-3,8"), ([1, 1, 3], "1,3"), ({64, 65, 0}, "0,64-65")],
)
def test_numbers_are_written_as_sysfs_writes_them(numbers, text):
    assert cpu_list.format(numbers) == text


@given(st.sets(st.integers(0, cpu_list.HIGHEST)))
def test_what_is_written_reads_back_the_same(numbers):
    assert cpu_list.parse(cpu_list.format(numbers)) == sorted(numbers)
