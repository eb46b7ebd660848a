# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the optimizer is asked, and what it says of a request that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.optimizer import request
from ansible_collections.tfserving.fleet.plugins.module_utils.optimizer.request import BadRequestError
from hypothesis import given
from hypothesis import strategies as st

SOUND: dict[str, Any] = {
    "schema": 1,
    "task": "build",
    "model": "/srv/model/1",
    "out": "/srv/model/2",
    "server_version": "2.19.1",
    "recipe": {"kind": "freeze"},
    "requests": None,
    "limits": {"memory_mb": 4096, "seconds": 600, "cpus": 2},
}


def test_a_sound_request_is_read():
    found = request.checked(SOUND)
    assert (found.task, found.model, found.out) == ("build", Path("/srv/model/1"), Path("/srv/model/2"))
    assert (found.version, found.minor, found.batch_sizes) == ((2, 19, 1), (2, 19), [None])
    assert (found.limits.memory_mb, found.limits.seconds, found.limits.cpus) == (4096, 600, 2)


def test_what_a_recipe_leaves_out_is_filled_in():
    assert request.checked_recipe({"kind": "xla"}) == {"kind": "xla", "how": "attribute", "device": "cpu"}
    assert request.checked_recipe({"kind": "tflite_int8"}) == {"kind": "tflite_int8"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "schema must be 1"),
        ({"schema": True}, "schema must be 1"),
        ({"task": "guess"}, "task must be survey or build or answer"),
        ({"task": ["build"]}, "task must be survey or build or answer"),
        ({"model": "model/1"}, "model must be an absolute path"),
        ({"model": None}, "model must be the absolute path of a version directory"),
        ({"model": "/srv/\0"}, "model must be an absolute path"),
        ({"out": None}, "out must be an absolute path"),
        ({"task": "answer"}, "requests must be the absolute path of a file of requests"),
        ({"recipe": None}, "recipe must be a mapping with a kind"),
        (
            {"recipe": {"kind": "magic"}},
            "recipe.kind must be freeze or xla or mixed_precision or tflite_float or tflite_int8 or tf_trt",
        ),
        ({"recipe": {"kind": "freeze", "how": "well"}}, "recipe.'how' is nothing that freeze knows"),
        ({"recipe": {"kind": "xla", "how": "well"}}, "recipe.how must be attribute or flags"),
        ({"recipe": {"kind": "tflite_int8", "signature": ""}}, "recipe.signature must be a name"),
        ({"server_version": "latest"}, "server_version must be a release such as 2.19.1"),
        ({"server_version": 2.19}, "server_version must be a release such as 2.19.1"),
        ({"limits": None}, "limits must be a mapping with memory_mb and seconds"),
        ({"limits": {"memory_mb": 100, "seconds": 1}}, "limits.memory_mb must be a whole number from 700 to 16777216"),
        ({"limits": {"memory_mb": 4096}}, "limits.seconds must be a whole number from 1 to 86400"),
        ({"limits": {"memory_mb": 4096, "seconds": True}}, "limits.seconds must be a whole number from 1 to 86400"),
        (
            {"batch_sizes": [0]},
            "batch_sizes must be a list of 1 to 256 whole numbers from 1 to 65536, or null for requests as they are",
        ),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(BadRequestError) as refused:
        request.checked({**SOUND, **change})
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "is not JSON"), ("[" * 100_000, "is not JSON"), (" " * (1024 * 1024 + 1), "is larger than 1 MiB")],
)
def test_a_file_that_is_no_request_is_refused(tmp_path, text, sentence):
    file = tmp_path / "request.json"
    file.write_text(text)
    with pytest.raises(BadRequestError) as refused:
        request.read(file)
    assert str(refused.value) == f"{file} {sentence}"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadRequestError) as refused:
        request.read(tmp_path / "none.json")
    assert str(refused.value) == f"{tmp_path}/none.json cannot be read: no such file or directory"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(SOUND)), JSON)
def test_whatever_stands_in_a_place_it_is_read_or_refused(key, value):
    try:
        found = request.checked(json.loads(json.dumps({**SOUND, key: value})))
    except BadRequestError as error:
        said = str(error)
    else:
        said = found.task
    assert said
    assert "\n" not in said
