# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models that flags and model config files name, in all the forms that a text protocol buffer has."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import model_configs
from ansible_collections.tfserving.fleet.plugins.module_utils.survey.model_configs import Model
from hypothesis import given
from hypothesis import strategies as st

DIGITS = Model("digits", "/srv/digits", {})


@pytest.mark.parametrize(
    "text",
    [
        'model_config_list { config { name: "digits" base_path: "/srv/digits" } }',
        "model_config_list: {\n  config: <name: 'digits', base_path: '/srv/digits';>\n}",
        'model_config_list { config: [{ name: "digits" base_path: "/srv/" "digits" }] }  # the end',
        'model_config_list { config { model_version_policy { specific { versions: [1, 2] } } name: "di\\147its"'
        ' base_path: "/srv/digits" } }',
    ],
)
def test_a_model_is_read_in_every_form(text):
    assert model_configs.of_text(text) == [DIGITS]


def test_labels_are_read_with_their_versions():
    text = 'model_config_list { config { name: "m" base_path: "/m" version_labels { key: "stable" value: 42 } } }'
    assert model_configs.of_text(text) == [Model("m", "/m", {"stable": 42})]


@pytest.mark.parametrize("text", ["model_config_list {", "a: ", "}", "a: }", '"' * 3, "a {" * 100 + "}" * 100, "a: @"])
def test_what_is_no_text_protocol_buffer_is_refused(text):
    with pytest.raises(ValueError, match="it "):
        model_configs.of_text(text)


@given(st.text(st.sampled_from("abc{}<>[]:,;\"'# \n1.\\")))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ValueError):
        model_configs.of_text(text)


def test_the_last_of_a_flag_wins_and_separate_words_are_none():
    argv = ["server", "--port=1", "--rest_api_port", "8501", "--port=2", "--enable_batching", "model_name=x"]
    assert model_configs.flags_of(argv) == {"port": "2", "rest_api_port": "true", "enable_batching": "true"}


def test_a_model_of_the_flags_has_the_servers_default_name():
    assert model_configs.of_flags({"model_base_path": "/m"}, None) == [Model("default", "/m", {})]
    assert model_configs.of_flags({}, None) == []


def test_the_file_wins_over_the_flags():
    flags = {"model_config_file": "x", "model_name": "other", "model_base_path": "/other"}
    assert model_configs.of_flags(flags, 'model_config_list{config{name:"digits" base_path:"/srv/digits"}}') == [DIGITS]
    assert model_configs.of_flags(flags, None) == []
