# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of others are read as the server's own library reads them, or refused where it refuses them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import render
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_fields import ROOTS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_read import read
from hypothesis import given
from hypothesis import strategies as st
from proto_cases import config, model

# As people write them: quotes of both kinds, colons before braces, commas, comments, lists in brackets.
PEOPLE = """
model_config_list: {   # two models
  config: {
    name: 'ranker', base_path: "/models/" 'ranker'
    model_platform: "tensorflow";
    model_version_policy { specific { versions: [6, 7] } }
    version_labels { key: 'stable' value: 6 }
    version_labels < value: 7, key: "canary" >
  },
  config { name: "a\\x41\\102\\n" base_path: "/m\\303\\244" model_version_policy: { latest: { num_versions: 0x2 } } }
}
"""


def library(text, message):
    """Return the text as the server's library reads it, or None where it refuses it."""
    real_protos = pytest.importorskip("real_protos")
    from google.protobuf import text_format

    try:
        return text_format.Parse(text, real_protos.message_class(ROOTS[message])())
    except text_format.ParseError:
        return None


def test_a_file_of_models_is_read_with_all_that_people_write():
    found = read(PEOPLE, "ModelServerConfig")
    first, second = found["model_config_list"]["config"]
    assert first == {
        "name": "ranker",
        "base_path": "/models/ranker",
        "model_platform": "tensorflow",
        "model_version_policy": {"specific": {"versions": [6, 7]}},
        "version_labels": {"stable": 6, "canary": 7},
    }
    assert second["name"] == "aAB\n"
    assert second["base_path"] == "/mä"
    assert second["model_version_policy"] == {"latest": {"num_versions": 2}}


def test_the_library_of_the_server_reads_the_same_from_it():
    real_protos = pytest.importorskip("real_protos")
    from google.protobuf import json_format

    message = real_protos.message_class("ModelServerConfig")()
    assert library(PEOPLE, "ModelServerConfig") == json_format.ParseDict(read(PEOPLE, "ModelServerConfig"), message)


def test_wrapped_scalars_lose_their_wrapper():
    text = "max_batch_size { value: 128 } batch_timeout_micros: { value: 0 } allowed_batch_sizes: 8"
    assert read(text, "BatchingParameters") == {
        "max_batch_size": 128,
        "batch_timeout_micros": 0,
        "allowed_batch_sizes": [8],
    }


@pytest.mark.parametrize(
    ("text", "message", "says"),
    [
        ("", "MonitoringConfig", "is empty, and the server does not read an empty file"),
        ("max_batch_size: 128", "BatchingParameters", "line 1 needs a message between { and }"),
        ("\nmax_batch_sise { value: 1 }", "BatchingParameters", "line 2 names a field that BatchingParameters does"),
        ("max_batch_size { value: 1 } max_batch_size { value: 2 }", "BatchingParameters", "is set already"),
        ("max_batch_size { value: 1", "BatchingParameters", "line 1 needs 'value: ' and the value"),
        ("model_config_list {", "ModelServerConfig", "line 1 ends before its message is closed"),
        ("model_config_list { config { name 'a' } }", "ModelServerConfig", "line 1 needs a colon before its value"),
        ("model_config_list { config { name: a } }", "ModelServerConfig", "line 1 needs a text in quotes"),
        ("allowed_batch_sizes: 'a'", "BatchingParameters", "line 1 holds a value that is no int64"),
        ("allowed_batch_sizes: 99999999999999999999", "BatchingParameters", "does not fit into int64"),
        ("allowed_batch_sizes: [1 2]", "BatchingParameters", "line 1 needs a comma or the end of its list"),
        ("pad_variable_length_inputs: maybe", "BatchingParameters", "line 1 holds a value that is no bool"),
        ("prometheus_config { path: '\\q' }", "MonitoringConfig", "line 1 holds an escape that does not exist"),
        ("prometheus_config { path: `x` }", "MonitoringConfig", "line 1 holds a character that is no part"),
        ("#" * ((1 << 20) + 1), "MonitoringConfig", "is longer than 1048576 characters"),
    ],
)
def test_what_the_server_refuses_is_refused_with_its_line(text, message, says):
    # The library in Python takes escapes that do not exist, the one in C++ does not.
    if text and not text.startswith("##") and "escape" not in says:
        assert library(text, message) is None
    with pytest.raises(WishError) as caught:
        read(text, message, "the file")
    assert says in str(caught.value)
    assert str(caught.value).startswith("the file: ")


def test_nesting_has_an_end():
    text = "graph_options { rewrite_options { custom_optimizers { parameter_map { key: 'a' value { func { " * 20
    with pytest.raises(WishError, match="line 1 "):
        read(text, "ConfigProto")


NAMES = st.text("abcXYZ'\"\\\n\tä{}#:", min_size=1, max_size=8)
MODELS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "version_labels": st.dictionaries(NAMES, st.integers(0, 9), min_size=1, max_size=3),
            "model_version_policy": st.sampled_from([{"all": {}}, {"latest": {"num_versions": 2}}]),
        },
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda each: each["name"],
)


@given(MODELS)
def test_what_is_written_here_is_read_back(models):
    data = config(*[model(**each) for each in models])
    assert read(render(data, "ModelServerConfig"), "ModelServerConfig") == data


@given(st.text("mbax_tch{}<>:,;[]'\"\\ 019-.#\n", max_size=60) | st.text(max_size=40))
def test_any_text_is_read_as_the_library_does_or_refused_in_a_sentence(text):
    try:
        found = read(text, "BatchingParameters", "f")
    except WishError:
        return
    if found:
        assert library(text, "BatchingParameters") is not None
