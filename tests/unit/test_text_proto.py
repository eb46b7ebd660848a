# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plain data becomes a text proto that the real parser reads back as the same data, or an error that says why not."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.table_file import table
from ansible_collections.tfserving.fleet.plugins.module_utils.text_proto import INTEGERS, ROOTS, render
from ansible_collections.tfserving.fleet.plugins.module_utils.text_proto_rules import REFUSED_FIELDS
from hypothesis import given
from hypothesis import strategies as st
from proto_cases import config, model, refusal

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def parsed(text, message):
    """Return the text as the real parser reads it."""
    real_protos = pytest.importorskip("real_protos")
    from google.protobuf import text_format

    return text_format.Parse(text, real_protos.message_class(ROOTS[message])())


def assert_reads_back(data, message):
    """Check the rendered data against the real library's own reading of the data itself, without our text between."""
    real_protos = pytest.importorskip("real_protos")
    from google.protobuf import json_format

    text = render(data, message)
    assert parsed(text, message) == json_format.ParseDict(data, real_protos.message_class(ROOTS[message])())
    return text


def test_a_model_config_is_laid_out_for_people():
    data = config(
        model(model_version_policy={"specific": {"versions": [6, 7]}}, version_labels={"stable": 6, "canary": 7}),
        model(name="ads", model_version_policy={"all": {}}),
    )
    assert assert_reads_back(data, "ModelServerConfig") == (
        "# ModelServerConfig of TensorFlow Serving, written by tfserving.fleet.\n"
        "model_config_list {\n"
        "  config {\n"
        '    name: "ranker"\n'
        '    base_path: "/models/ranker"\n'
        '    model_platform: "tensorflow"\n'
        "    model_version_policy {\n"
        "      specific {\n"
        "        versions: 6\n"
        "        versions: 7\n"
        "      }\n"
        "    }\n"
        "    version_labels {\n"
        '      key: "canary"\n'
        "      value: 7\n"
        "    }\n"
        "    version_labels {\n"
        '      key: "stable"\n'
        "      value: 6\n"
        "    }\n"
        "  }\n"
        "  config {\n"
        '    name: "ads"\n'
        '    base_path: "/models/ranker"\n'
        '    model_platform: "tensorflow"\n'
        "    model_version_policy {\n"
        "      all { }\n"
        "    }\n"
        "  }\n"
        "}\n"
    )


def test_wrapped_scalars_are_written_as_messages_and_plain_ones_are_not():
    data = {"max_batch_size": 32, "allowed_batch_sizes": [8, 32], "pad_variable_length_inputs": True}
    assert assert_reads_back(data, "BatchingParameters").splitlines()[1:] == [
        "max_batch_size { value: 32 }",
        "allowed_batch_sizes: 8",
        "allowed_batch_sizes: 32",
        "pad_variable_length_inputs: true",
    ]


@pytest.mark.parametrize("message", ["ModelServerConfig", "BatchingParameters", "MonitoringConfig", "ConfigProto"])
def test_an_empty_message_is_a_comment_because_the_server_refuses_an_empty_file(message):
    text = render({}, message)
    assert text == f"# {message} of TensorFlow Serving, written by tfserving.fleet.\n"
    assert parsed(text, message).ByteSize() == 0


def test_the_order_of_keys_does_not_change_the_file_and_null_leaves_a_field_out():
    data = {"max_batch_size": 8, "batch_timeout_micros": 0, "num_batch_threads": 2}
    assert render(dict(reversed(data.items())), "BatchingParameters") == render(data, "BatchingParameters")
    assert render({**data, "thread_pool_name": None}, "BatchingParameters") == render(data, "BatchingParameters")


def test_a_policy_left_out_by_null_does_not_bind_labels():
    policy = {"specific": None, "latest": {"num_versions": 2}}
    labelled = config(model(model_version_policy=policy, version_labels={"stable": 5}))
    assert "latest {" in render(labelled, "ModelServerConfig")


# Strings as the file must carry them. Escapes of control characters have three digits, so the 1 stays a character.
@pytest.mark.parametrize(
    "text", ['a "b" \\c', "a\nb\r\n\tc", "\x001", "\x7f1", "naïve 模型 🚀", "\u2028", "'", "#", ""]
)
def test_strings_survive_whatever_they_hold(text):
    assert_reads_back({"thread_pool_name": text}, "BatchingParameters")


def test_session_options_are_written_with_their_enums_and_maps():
    data = {
        "device_count": {"GPU": 0, "CPU": 1},
        "session_inter_op_thread_pool": [{"num_threads": 4}, {"num_threads": 1, "global_name": "slow"}],
        "gpu_options": {"allow_growth": True, "visible_device_list": "0"},
        "graph_options": {
            "rewrite_options": {"auto_mixed_precision": "ON"},
            "optimizer_options": {"global_jit_level": "ON_1", "opt_level": "L0"},
        },
    }
    assert "auto_mixed_precision: ON\n" in assert_reads_back(data, "SessionConfigProto")


@pytest.mark.parametrize(
    ("data", "message", "sentence"),
    [
        ([], "BatchingParameters", "needs a mapping, not a list; write the fields of BatchingParameters: max_batch_"),
        ({"max_batchsize": 3}, "BatchingParameters", "max_batchsize: BatchingParameters has no such field; did you"),
        (
            {"frobnicate": 3},
            "MonitoringConfig",
            "frobnicate: MonitoringConfig has no such field; its fields are prometheus_config",
        ),
        ({7: 3}, "MonitoringConfig", "7: MonitoringConfig has no such field; its fields are prometheus_config"),
        (
            {"max_batch_size": True},
            "BatchingParameters",
            "max_batch_size: needs a whole number without quotes, not the boolean true; write a whole number",
        ),
        (
            {"max_batch_size": "32"},
            "BatchingParameters",
            "max_batch_size: needs a whole number without quotes, not the string '32'; write a whole number",
        ),
        (
            {"max_batch_size": {"value": 32}},
            "BatchingParameters",
            "max_batch_size: needs a whole number without quotes, not a mapping; write the plain value, it is wrapped",
        ),
        (
            {"max_batch_size": 2**63},
            "BatchingParameters",
            "max_batch_size: 9223372036854775808 does not fit into int64; "
            "stay within -9223372036854775808 and 9223372036854775807",
        ),
        (
            {"allowed_batch_sizes": 8},
            "BatchingParameters",
            "allowed_batch_sizes: needs a list, not the number 8; write it as a list, even of one",
        ),
        (
            {"allowed_batch_sizes": [8, None]},
            "BatchingParameters",
            "allowed_batch_sizes[1]: needs a whole number without quotes, not nothing; write a whole number",
        ),
        (
            {"pad_variable_length_inputs": "yes"},
            "BatchingParameters",
            "pad_variable_length_inputs: needs true or false without quotes, not the string 'yes'; write true or",
        ),
        (
            {"thread_pool_name": 3},
            "BatchingParameters",
            "thread_pool_name: needs a string in quotes, not the number 3; write a string in quotes",
        ),
        (
            {"thread_pool_name": "\udcff"},
            "BatchingParameters",
            "thread_pool_name: holds bytes that are not UTF-8; save the text as UTF-8",
        ),
        (
            {"device_count": {1: 2}},
            "ConfigProto",
            "device_count.1: the key is the number 1, not a string; write '1' in quotes",
        ),
        (
            {"device_count": ["GPU"]},
            "ConfigProto",
            "device_count: needs a mapping, not a list; write 'key: value' pairs",
        ),
        (
            {"device_count": {"GPU": 2**31}},
            "ConfigProto",
            "device_count.GPU: 2147483648 does not fit into int32; stay within -2147483648 and 2147483647",
        ),
        (
            {"graph_options": {"rewrite_options": {"remapping": "ONN"}}},
            "ConfigProto",
            "graph_options.rewrite_options.remapping: the string 'ONN' is no Toggle; did you mean 'ON'?",
        ),
        (
            {"graph_options": {"rewrite_options": {"remapping": 1}}},
            "ConfigProto",
            "graph_options.rewrite_options.remapping: the number 1 is no Toggle; "
            "write one of DEFAULT, ON, OFF, AGGRESSIVE",
        ),
        (
            {"graph_options": {"rewrite_options": {"remapping": False}}},
            "ConfigProto",
            "graph_options.rewrite_options.remapping: YAML reads a bare OFF as the boolean false; write 'OFF' in",
        ),
        (
            config(model(model_version_policy={"all": True})),
            "ModelServerConfig",
            "model_config_list.config[0].model_version_policy.all: needs a mapping, not the boolean true; write {}",
        ),
        (
            config(model(model_version_policy={"latest": {"num_version": 1}})),
            "ModelServerConfig",
            "model_config_list.config[0].model_version_policy.latest.num_version: "
            "ServableVersionPolicy.Latest has no such field; did you mean 'num_versions'?",
        ),
        (
            config(model(model_version_policy={"latest": {}, "all": {}})),
            "ModelServerConfig",
            "model_config_list.config[0].model_version_policy: 'latest' and 'all' exclude each other; keep one of them",
        ),
    ],
)
def test_data_that_does_not_fit_the_message_is_refused_at_its_place(data, message, sentence):
    assert refusal(data, message).startswith(sentence)


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/:"), min_size=1)
VERSIONS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5)
BASE_PATHS = st.one_of(ANY_TEXT.map("/{}".format), ANY_TEXT.map("gs://{}".format))


@st.composite
def models(draw):
    """A model that the server accepts, its labels at versions that it serves."""
    versions = draw(VERSIONS)
    latest = st.fixed_dictionaries({}, optional={"num_versions": st.integers(1, 2**32 - 1)})
    policies = [{"specific": {"versions": versions}}, {"all": {}}, {"latest": draw(latest)}]
    optional = {
        "model_version_policy": st.sampled_from(policies),
        "version_labels": st.dictionaries(NAMES, st.sampled_from(versions), max_size=3),
    }
    return draw(st.fixed_dictionaries({"name": NAMES, "base_path": BASE_PATHS}, optional=optional))


@given(st.lists(models(), max_size=4, unique_by=lambda entry: entry["name"]))
def test_any_model_config_reads_back_as_it_was_wished(entries):
    data = config(*({**entry, "model_platform": "tensorflow"} for entry in entries))
    assert_reads_back(data, "ModelServerConfig")


SIZES = st.lists(st.integers(1, 2**40), min_size=1, max_size=6, unique=True).map(sorted)


@st.composite
def batching(draw):
    """Batching parameters that the server accepts."""
    sizes = draw(SIZES)
    optional = {
        "batch_timeout_micros": st.integers(0, 2**63 - 1),
        "max_enqueued_batches": st.integers(1, 2**63 - 1),
        "num_batch_threads": st.integers(1, 2**63 - 1),
        "thread_pool_name": ANY_TEXT,
        "allowed_batch_sizes": st.just(sizes),
        "pad_variable_length_inputs": st.booleans(),
        "enable_large_batch_splitting": st.just(False),
    }
    data = draw(st.fixed_dictionaries({"max_batch_size": st.just(sizes[-1])}, optional=optional))
    if draw(st.booleans()):
        execution = draw(st.integers(1, sizes[-1]))
        data |= {"enable_large_batch_splitting": True, "max_execution_batch_size": execution}
    return data


@given(batching())
def test_any_batching_reads_back_as_it_was_wished(data):
    assert_reads_back(data, "BatchingParameters")


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.booleans())
def test_any_tls_config_reads_back_as_it_was_wished(key, certificate, authority, verify):
    data = {
        "server_key": PEM + key,
        "server_cert": PEM + certificate,
        "custom_ca": PEM + authority,
        "client_verify": verify,
    }
    assert_reads_back(data, "SSLConfig")


def fields(message):
    """Build a strategy from the table for a message without rules of its own."""
    optional = {}
    for row in table("messages")["messages"][message]:
        if (message, row["name"]) not in REFUSED_FIELDS:
            optional[row["name"]] = values(row["type"])
    return st.fixed_dictionaries({}, optional=optional)


def values(type_):
    """Build a strategy for one type of the table."""
    if type_.startswith("repeated "):
        return st.lists(values(type_[len("repeated ") :]), max_size=3)
    if type_.startswith("map<string, "):
        return st.dictionaries(ANY_TEXT, values(type_[len("map<string, ") : -1]), max_size=3)
    if type_ == "ThreadPoolOptionProto":
        return st.fixed_dictionaries({}, optional={"num_threads": st.integers(0, 2**31 - 1), "global_name": ANY_TEXT})
    if type_ in table("messages")["messages"]:
        return fields(type_)
    if type_ in table("messages")["enums"]:
        return st.sampled_from(table("messages")["enums"][type_])
    if type_ in INTEGERS:
        return st.integers(INTEGERS[type_].start, INTEGERS[type_].stop - 1)
    return {"bool": st.booleans(), "string": ANY_TEXT}[type_]


@given(fields("ConfigProto"))
def test_any_session_config_reads_back_as_it_was_wished(data):
    assert_reads_back(data, "ConfigProto")


@given(st.fixed_dictionaries({}, optional={"enable": st.booleans(), "path": ANY_TEXT.map("/{}".format)}))
def test_any_monitoring_config_reads_back_as_it_was_wished(prometheus):
    assert_reads_back({"prometheus_config": prometheus}, "MonitoringConfig")
