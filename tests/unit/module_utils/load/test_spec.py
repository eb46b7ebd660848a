# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The description of a stage is bounded and checked, and what is wrong with it is one sentence."""

from __future__ import annotations

import base64
import copy
import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import spec as spec_module
from ansible_collections.tfserving.fleet.plugins.module_utils.load.spec import BadSpecError, body, checked, read
from hypothesis import given
from hypothesis import strategies as st

SOUND = {
    "schema": 1,
    "engine": "own",
    "protocol": "rest",
    "target": {
        "host": "10.0.0.5",
        "grpc": 8500,
        "rest": 8501,
        "tls": {"ca": "PEM", "name": "ranker.example", "certificate": None, "key_file": None},
        "metrics": "/monitoring/prometheus/metrics",
    },
    "requests": [
        {
            "model": "ranker",
            "signature": "serving_default",
            "path": "/v1/models/ranker:predict",
            "rest": base64.b64encode(b'{"instances": [1]}').decode(),
            "grpc": base64.b64encode(b"\x0a\x00").decode(),
            "weight": 1.0,
            "items": 8,
            "expect": None,
        }
    ],
    "rate": 500,
    "arrivals": "poisson",
    "seed": 1,
    "warmup_s": 5,
    "duration_s": 60.0,
    "processes": 2,
    "connections": 4,
    "timeout_s": 10.0,
    "start_in_s": 0.5,
}


def bent(path, value):
    """Return a sound description with one value replaced; without it where the value is `...`."""
    made = copy.deepcopy(SOUND)
    place = made
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


def test_a_sound_description_is_taken_as_it_is():
    assert checked(copy.deepcopy(SOUND)) == SOUND
    assert checked(bent(("target", "tls"), None))["target"]["tls"] is None


def test_the_largest_reply_that_is_taken_may_be_named_and_is_a_size():
    named = bent(("target", "reply_bytes"), 4 << 20)
    assert checked(named) == named
    with pytest.raises(BadSpecError, match=r"^target\.reply_bytes must be a whole number from 1 to 2147483647$"):
        checked(bent(("target", "reply_bytes"), 0))


def test_bodies_come_out_of_their_base64():
    (request,) = checked(copy.deepcopy(SOUND))["requests"]
    assert (body(request, "rest"), body(request, "grpc")) == (b'{"instances": [1]}', b"\x0a\x00")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("schema",), 2, "schema must be 1"),
        (("schema",), True, "schema must be 1"),
        (("engine",), "wrk", "engine must be own or h2load"),
        (("engine",), ["own"], "engine must be own or h2load"),
        (("protocol",), ..., "protocol is missing: give grpc or rest"),
        (("target",), "10.0.0.5", "target must be a mapping"),
        (("target", "host"), "a b", "target.host must be a host name or an IP address"),
        (("target", "host"), "a\r\nX: 1", "target.host must be a host name or an IP address"),
        (("target", "rest"), 0, "target.rest must be a whole number from 1 to 65535"),
        (("target", "grpc"), True, "target.grpc must be a whole number from 1 to 65535"),
        (("target", "tls"), True, "target.tls must be a mapping or null"),
        (("target", "tls", "ca"), 5, "target.tls.ca must be a text or null"),
        (("target", "tls", "key_file"), ..., "target.tls.key_file is missing: give a text or null"),
        (("target", "metrics"), "metrics", "target.metrics must be a path or null"),
        (("requests",), [], "requests must be a list of 1 to 10000 requests"),
        (("requests",), [1], "requests[0] must be a mapping"),
        (("requests", 0, "model"), "", "requests[0].model must be a name"),
        (("requests", 0, "path"), "/a b", "requests[0].path must be a path without blanks"),
        (("requests", 0, "path"), "/a\r\nHost: b", "requests[0].path must be a path without blanks"),
        (("requests", 0, "rest"), "no base64!", "requests[0].rest must be the body in base64"),
        (("requests", 0, "rest"), None, "requests[0].rest must be the body in base64"),
        (("requests", 0, "rest"), ..., "requests[0].rest must be the body in base64"),
        (("requests", 0, "weight"), 0, "requests[0].weight must be a number above 0 up to 1e+09"),
        (("requests", 0, "weight"), float("nan"), "requests[0].weight must be a number above 0 up to 1e+09"),
        (("requests", 0, "items"), -1, "requests[0].items must be a whole number from 0 to 1000000000"),
        (("requests", 0, "expect"), 1, "requests[0].expect must be a mapping or null"),
        (("rate",), 0, "rate must be a number above 0 up to 1e+06"),
        (("rate",), float("inf"), "rate must be a number above 0 up to 1e+06"),
        (("rate",), "500", "rate must be a number above 0 up to 1e+06"),
        (("arrivals",), "bursts", "arrivals must be poisson or constant"),
        (("seed",), 1.5, "seed must be a whole number from -9223372036854775808 to 9223372036854775807"),
        (("warmup_s",), -1, "warmup_s must be a number from 0 to 604800"),
        (("duration_s",), 0, "duration_s must be a number above 0 up to 604800"),
        (("processes",), 0, "processes must be a whole number from 1 to 256"),
        (("connections",), 513, "connections must be a whole number from 1 to 512"),
        (("timeout_s",), 601, "timeout_s must be a number above 0 up to 600"),
        (("start_in_s",), 61, "start_in_s must be a number from 0 to 60"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(path, value, sentence):
    with pytest.raises(BadSpecError) as found:
        checked(bent(path, value))
    assert str(found.value) == sentence


def test_an_expectation_that_cannot_be_used_is_refused():
    with pytest.raises(BadSpecError, match=r"^requests\[0\]\.expect cannot be used: "):
        checked(bent(("requests", 0, "expect"), {"outputs": 5}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
PATHS = [
    *((key,) for key in SOUND),
    *(("target", key) for key in SOUND["target"]),
    *(("target", "tls", key) for key in SOUND["target"]["tls"]),
    *(("requests", 0, key) for key in SOUND["requests"][0]),
]


@given(st.sampled_from(PATHS), JSON)
def test_any_value_anywhere_is_taken_or_refused(path, value):
    try:
        checked(bent(path, value))
    except BadSpecError as error:
        said = str(error)
    else:
        return
    assert said.startswith(path[0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_not_json_is_refused(text, sentence, tmp_path):
    path = tmp_path / "spec.json"
    path.write_bytes(text)
    with pytest.raises(BadSpecError) as found:
        read(path)
    assert str(found.value) == f"{path} {sentence}"


def test_a_list_is_no_description():
    with pytest.raises(BadSpecError, match=r"^a stage is described by a mapping$"):
        checked([])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadSpecError, match=r"cannot be read: no such file or directory$"):
        read(tmp_path / "spec.json")


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(spec_module, "LARGEST_FILE", 1 << 20)
    path = tmp_path / "spec.json"
    path.write_bytes(b" " * (1 << 20) + b"1")
    with pytest.raises(BadSpecError, match=r"is larger than 1 MiB: give fewer or smaller requests$"):
        read(path)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SOUND))
    assert read(path) == SOUND
