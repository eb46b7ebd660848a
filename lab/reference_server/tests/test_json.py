# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON as upstream reads and writes it: known answers for RapidJSON's errors, numbers, strings and layout."""

import json
import math

import numpy as np
import pytest
from tfs_reference import json_reader, json_text
from tfs_reference.status import StatusError

MALFORMED = {
    b"": "The document is empty",
    b" ": "The document is empty. at offset: 1",
    b"{": "Missing a name for object member. at offset: 1",
    b"{1:2}": "Missing a name for object member. at offset: 1",
    b'{"a"': "Missing a colon after a name of object member. at offset: 4",
    b'{"a":1 "b"': "Missing a comma or '}' after an object member. at offset: 7",
    b"[1 2]": "Missing a comma or ']' after an array element. at offset: 3",
    b"[1": "Missing a comma or ']' after an array element. at offset: 2",
    b"[": "Invalid value. at offset: 1",
    b"[nul]": "Invalid value. at offset: 4",
    b"[-]": "Invalid value. at offset: 2",
    b"[Infi]": "Invalid value. at offset: 5",
    b"[1.]": "Miss fraction part in number. at offset: 3",
    b"[1e+]": "Miss exponent in number. at offset: 4",
    b"[0, 1e400]": "Number too big to be stored in double. at offset: 4",
    b"[" + b"9" * 310 + b"]": "Number too big to be stored in double. at offset: 1",
    b"[" + b"9" * 5000 + b"]": "Number too big to be stored in double. at offset: 1",
    b'["abc': "Missing a closing quotation mark in string. at offset: 5",
    b'["a\x01"]': "Invalid escape character in string. at offset: 3",
    b'["\\q"]': "Invalid escape character in string. at offset: 2",
    b'["\\u12g4"]': "Incorrect hex digit after \\u escape in string. at offset: 2",
    b'["\\ud800"]': "The surrogate pair in string is invalid. at offset: 2",
    b'["\\ud800\\u0041"]': "The surrogate pair in string is invalid. at offset: 2",
}


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: body[:12])
def test_what_is_no_json_is_told_with_its_offset(body):
    with pytest.raises(StatusError) as raised:
        json_reader.parse(body)
    assert str(raised.value) == f"INVALID_ARGUMENT: JSON Parse error: {MALFORMED[body]}"


WELL_FORMED = {
    b'{"a": 1} trailing': {"a": 1},
    b"[1, 2,]": [1, 2],
    b'{"a": 1,}': {"a": 1},
    b"\xef\xbb\xbf[1]": [1],
    b'{"a": 1, "a": 2}': {"a": 1},
    b"[Inf, -Inf, Infinity, -Infinity]": [math.inf, -math.inf, math.inf, -math.inf],
    b'["\\ud83d\\ude00", "\xf0\x9f\x98\x80"]': ["\U0001f600", "\U0001f600"],
    b"[1e-9999, -0, 1E2]": [0.0, 0, 100.0],
    b"[18446744073709551615, -9223372036854775808]": [2**64 - 1, -(2**63)],
}


@pytest.mark.parametrize("body", WELL_FORMED, ids=lambda body: body[:12])
def test_what_upstream_takes_is_taken(body):
    assert json_reader.parse(body) == WELL_FORMED[body]


def test_not_a_number_may_have_a_sign():
    assert all(math.isnan(value) for value in json_reader.parse(b"[NaN, -NaN]"))


def test_integers_beyond_64_bits_are_doubles():
    values = json_reader.parse(b"[18446744073709551616, -9223372036854775809" + b" " * 3 + b', "\\ud83d\\ude00"]')
    assert json_text.quote(values[:2]) == "[18446744073709552000.0, -9223372036854776000.0]"


def test_any_depth_is_read():
    body = b'{"deep": ' + b"[" * 500_000 + b"]" * 500_000 + b', "x": 1}'
    assert json_reader.parse(body)["x"] == 1


def test_values_are_quoted_as_upstreams_writer_lays_them_out():
    value = {"a": [1, 2.5, None, True, "\u00e9\x02\n/"], "b": {}, "c": {"d": 1e22, "e": 1e-7, "f": 0.00001, "g": -0.0}}
    assert json_text.quote(value) == (
        '{\n    "a": [1, 2.5, null, true, "\u00e9\\u0002\\n/"],\n    "b": {},\n'
        '    "c": {\n        "d": 1e22,\n        "e": 1e-7,\n        "f": 0.00001,\n        "g": -0.0\n    }\n}'
    )


def test_a_quoted_value_ends_after_256_bytes_and_at_the_first_number_that_json_has_not():
    quoted = json_text.quote(list(range(1000)))
    assert json.dumps(list(range(1000))).startswith(quoted)
    assert 256 <= len(quoted) < 270
    assert json_text.quote([1, math.nan, 2]) == "[1, "
    deep = []
    for _ in range(10_000):
        deep = [deep]
    assert json_text.quote(deep) == "[" * 256


def test_scanner_and_walk_read_the_same():
    random = np.random.default_rng(8)

    def value(depth):
        kind = random.integers(8 if depth < 4 else 6)
        if kind == 6:
            return [value(depth + 1) for _ in range(random.integers(4))]
        if kind == 7:
            return {str(index): value(depth + 1) for index in range(random.integers(4))}
        number = float(random.uniform(-1, 1)) * 10.0 ** int(random.integers(-300, 300))
        return [None, True, int(random.integers(-(2**62), 2**62)), number, '\u00e9\x02"\\\U0001f600', ""][kind]

    for _ in range(300):
        expected = value(0)
        body = json.dumps(expected, ensure_ascii=bool(random.integers(2)), indent=random.integers(3) or None).encode()
        assert json_reader.parse(body) == json_reader._Walk(body).value() == expected
