# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers against what is expected of them, and two versions' answers against each other."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import compare
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.compare import Expected
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor

NAN, INF = math.nan, math.inf
# What 0.1 becomes as a 32-bit float.
TENTH = struct.unpack("<f", struct.pack("<f", 0.1))[0]


def floats(*values: float, shape: tuple[int, ...] | None = None, dtype: str = "DT_FLOAT") -> Tensor:
    return Tensor(dtype, (len(values),) if shape is None else shape, values)


def departure(held: Tensor, values: Any = None, **more: Any) -> str:
    return compare.departure(Expected("y", values, **more), {"y": held})


@pytest.mark.parametrize(
    ("held", "values"),
    [
        (floats(1.0, 2.0), [1, 2]),
        (floats(1.0005), [1.0]),
        (floats(0.000009), [0]),
        (floats(NAN, INF, -INF), ["NaN", "Infinity", "-Infinity"]),
        (floats(1.0, 2.0, shape=(2, 1)), [[1], [2]]),
        (floats(3.0, shape=()), 3),
        (floats(shape=(0, 4)), []),
        (floats(1e300, dtype="DT_DOUBLE"), [1e300]),
        (Tensor("DT_INT64", (1,), [9007199254740993]), ["9007199254740993"]),
        (Tensor("DT_UINT64", (1,), [2**64 - 1]), [2**64 - 1]),
        (Tensor("DT_BOOL", (2,), [True, False]), [True, False]),
        (Tensor("DT_STRING", (2,), [b"\x00\xff", "é".encode()]), [{"b64": "AP8="}, "é"]),
        (Tensor("DT_STRING", (1,), [b"12"]), ["12"]),
        (Tensor("DT_COMPLEX64", (1,), [1 + 2j]), [[1, 2]]),
    ],
)
def test_equal_answers_are_equal(held, values):
    assert departure(held, values) == ""


@pytest.mark.parametrize(
    ("held", "values", "words"),
    [
        (
            floats(0.5, 0.91),
            [0.5, 0.5],
            "y[1] is 0.91, expected 0.5 (0.41 apart, 0.00051 allowed; 1 of 2 values differs)",
        ),
        (
            floats(1.1, 5.0, 3.0, shape=(3, 1)),
            [[1], [2], [3]],
            "y[1][0] is 5, expected 2 (3 apart, 0.00201 allowed; 2 of 3 values differ)",
        ),
        (floats(NAN, 9.0), [1, 1], "y[0] is nan, expected 1 (inf apart, 0.00101 allowed; 2 of 2 values differ)"),
        (floats(1.0), ["NaN"], "y[0] is 1, expected nan (inf apart, 0 allowed; 1 of 1 values differs)"),
        (floats(1e38), ["Infinity"], "y[0] is 1e+38, expected inf (inf apart, 0 allowed; 1 of 1 values differs)"),
        (floats(-INF), ["Infinity"], "y[0] is -inf, expected inf (inf apart, 0 allowed; 1 of 1 values differs)"),
        (Tensor("DT_INT64", (1,), [7]), [8], "y[0] is 7, expected 8 (1 of 1 values differs)"),
        (Tensor("DT_BOOL", (1,), [True]), [False], "y[0] is True, expected False (1 of 1 values differs)"),
        (Tensor("DT_STRING", (1,), [b"\xff\n"]), ["a"], r"y[0] is '\\xff\\n', expected 'a' (1 of 1 values differs)"),
        (floats(1.0, 2.0), [1], "y has the shape [2], expected [1]"),
        (floats(1.0), [[1]], "y has the shape [1], expected [1, 1]"),
        (floats(1.0), 1, "y has the shape [1], expected []"),
        (
            Tensor("DT_INT64", (1,), [1]),
            [1.5],
            "y is DT_INT64, and what is expected is none: y[0] is the fraction 1.5",
        ),
        (floats(1.0), ["x"], "y is DT_FLOAT, and what is expected is none: y[0] is the string 'x'"),
        (floats(1.0), [1e300], "y is DT_FLOAT, and what is expected is none: y[0] is the fraction 1e+300"),
    ],
)
def test_a_departure_is_told_by_its_largest_difference(held, values, words):
    assert departure(held, values) == words


def test_a_tolerance_of_zero_still_sees_32_bit_floats_as_people_write_them():
    assert departure(floats(TENTH), [0.1], rtol=0.0, atol=0.0) == ""
    assert departure(floats(TENTH + 1e-8), [0.1], rtol=0.0, atol=0.0) != ""


def test_tolerances_add_up():
    assert departure(floats(10.59), [10], rtol=0.01, atol=0.5) == ""
    assert departure(floats(10.61), [10], rtol=0.01, atol=0.5) != ""


def test_types_and_shapes_are_looked_at_without_values():
    held = floats(1.0, 2.0, shape=(1, 2))
    assert departure(held, shape=[-1, 2], dtype="DT_FLOAT") == ""
    assert departure(held, shape=[-1, 3]) == "y has the shape [1, 2], expected [-1, 3]"
    assert departure(held, shape=[2]) == "y has the shape [1, 2], expected [2]"
    assert departure(held, dtype="DT_INT64") == "y is DT_FLOAT, expected DT_INT64"


def test_a_missing_output_is_told_with_those_that_are_there():
    assert compare.departure(Expected("y"), {"b": floats(1.0), "a": floats(1.0)}) == (
        "output y is missing (there are a and b)"
    )


def test_a_name_from_outside_is_made_harmless():
    assert compare.departure(Expected("\x1b[2J"), {}) == r"output \x1b[2J is missing (there are none)"


def test_a_request_expects_each_output_once():
    found = compare.expected({"expect": {"a": [1]}, "shape": {"a": [1], "b": [2]}, "rtol": 0.5, "atol": 0.0})
    assert found == [Expected("a", [1], [1], None, 0.5, 0.0), Expected("b", None, [2], None, 0.5, 0.0)]


# --- two versions --------------------------------------------------------------------------------------------


def differ(one: Tensor, other: Tensor) -> str:
    (found,) = compare.differences("first", {"y": one}, {"y": other})
    return str(found)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (floats(1.0, NAN), floats(1.0, NAN), "y: equal (2 values)"),
        (
            floats(1.0, 10.0),
            floats(1.5, 11.0),
            "y: max abs 1, max rel 0.333 at first y[1] (10 and 11); 2 of 2 values differ",
        ),
        (floats(0.0), floats(2.0), "y: max abs 2, max rel 1 at first y[0] (0 and 2); 1 of 1 values differ"),
        (floats(1.0), floats(NAN), "y: 1 of 1 values differ, first of all first y[0] (1 and nan)"),
        (
            Tensor("DT_STRING", (2,), [b"a", b"b"]),
            Tensor("DT_STRING", (2,), [b"a", b"c"]),
            "y: 1 of 2 values differ, first of all first y[1] ('b' and 'c')",
        ),
        (
            Tensor("DT_INT64", (1,), [5]),
            Tensor("DT_INT64", (1,), [4]),
            "y: max abs 1, max rel 0.2 at first y[0] (5 and 4); 1 of 1 values differ",
        ),
        (floats(1.0), floats(1.0, shape=(1, 1)), "y: DT_FLOAT [1] and DT_FLOAT [1, 1] (request first)"),
        (floats(1.0), Tensor("DT_INT64", (1,), [1]), "y: DT_FLOAT [1] and DT_INT64 [1] (request first)"),
    ],
)
def test_versions_are_compared_output_by_output(one, other, words):
    assert differ(one, other) == words


def test_an_output_that_one_version_lacks_is_told():
    found = compare.differences("first", {"a": floats(1.0)}, {"b": floats(1.0)})
    assert [str(each) for each in found] == [
        "a: only the stable version has it (request first)",
        "b: only the canary has it (request first)",
    ]


def test_differences_of_several_requests_become_one_an_output():
    pairs = [("one", 1.0, 1.5), ("two", 100.0, 103.0), ("three", 1.0, 1.0)]
    found = [each for name, a, b in pairs for each in compare.differences(name, {"y": floats(a)}, {"y": floats(b)})]
    (merged,) = compare.merged(found)
    assert str(merged) == "y: max abs 3, max rel 0.333 at two y[0] (100 and 103); 2 of 3 values differ"


def test_a_note_survives_the_merging():
    odd = compare.differences("odd", {"y": floats(1.0)}, {"y": floats(1.0, 2.0)})
    even = compare.differences("even", {"y": floats(1.0)}, {"y": floats(1.0)})
    (merged,) = compare.merged([*even, *odd])
    assert str(merged) == "y: DT_FLOAT [1] and DT_FLOAT [2] (request odd)"


# --- two protocols -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "grpc", "words"),
    [
        ({"y": floats(0.1)}, {"y": floats(TENTH)}, ""),
        ({"y": floats(NAN, INF)}, {"y": floats(NAN, INF)}, ""),
        ({"y": floats(1.0)}, {"y": floats(1.0005)}, ""),
        ({"y": floats(1.0, 2.0)}, {"y": floats(1.0, 2.1)}, "y[1] is 2 over REST and 2.1 over gRPC"),
        ({"y": floats(1.0)}, {"y": floats(NAN)}, "y[0] is 1 over REST and nan over gRPC"),
        ({"y": floats(1.0)}, {}, "y comes over REST alone"),
        ({}, {"y\n": floats(1.0)}, "y\\n comes over gRPC alone"),
        (
            {"y": floats(1.0)},
            {"y": floats(1.0, dtype="DT_DOUBLE", shape=(1, 1))},
            "y is DT_FLOAT [1] over REST and DT_DOUBLE [1, 1] over gRPC",
        ),
        (
            {"y": Tensor("DT_INT64", (1,), [1])},
            {"y": Tensor("DT_INT64", (1,), [2])},
            "y[0] is 1 over REST and 2 over gRPC",
        ),
    ],
)
def test_answers_over_both_protocols_part_beyond_the_requests_tolerance(rest, grpc, words):
    assert compare.parting({}, rest, grpc) == words


def test_a_request_with_its_own_tolerance_keeps_it_between_protocols():
    assert compare.parting({"rtol": 0.1}, {"y": floats(1.0)}, {"y": floats(1.05)}) == ""
    assert compare.parting({"rtol": 0.0, "atol": 0.0}, {"y": floats(1.0)}, {"y": floats(1.0005)})
