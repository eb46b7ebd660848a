# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plain data becomes a text proto that the real parser reads back as the same data, or an error that says why not."""

from __future__ import annotations

import base64
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import _message_lines, render
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_check import (
    INTEGERS,
    MAX_DEPTH,
    Reader,
    _check_message,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_fields import ROOTS, fields
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_rules import REFUSED_FIELDS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table
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
    wished = as_json(data, ROOTS[message])
    assert parsed(text, message) == json_format.ParseDict(wished, real_protos.message_class(ROOTS[message])())
    return text


def as_json(value, type_):
    """Return the data as the library's JSON has it: bytes in base64."""
    if type_ == "bytes":
        return base64.b64encode(value.encode()).decode()
    if type_ not in table("messages")["messages"] or not isinstance(value, dict):
        return value
    known, result = fields(type_), {}
    for name, inner in value.items():
        field = known[name]
        if field.label == "repeated":
            result[name] = [as_json(item, field.type) for item in inner]
        elif field.label == "map":
            result[name] = {key: as_json(item, field.type) for key, item in inner.items()}
        else:
            result[name] = as_json(inner, field.type)
    return result


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


NEWER = {"max_batch_size": 8, "zeal": {"value": 2, "names": ["a", "b"], "unset": None}, "frobnicate": True}


def test_a_field_of_a_newer_release_is_refused_as_not_surveyed():
    with pytest.raises(WishError) as caught:
        render(NEWER, "BatchingParameters", "batching", "2.99.0")
    assert str(caught.value) == (
        f"batching.zeal: 2.99.0 was not surveyed, and {surveyed.newest()}, the newest release that was, has no such"
        " field in BatchingParameters; leave it out, or set host_plan_policy.allow_unsurveyed_release to true if 2.99.0"
        " has it"
    )


def test_fields_that_nobody_surveyed_are_written_by_type_where_that_is_permitted():
    text = render(NEWER, "BatchingParameters", "batching", "2.99.0", allow_unsurveyed=True)
    assert text.splitlines()[1:] == [
        "max_batch_size { value: 8 }",
        "frobnicate: true",
        "zeal {",
        "  value: 2",
        '  names: "a"',
        '  names: "b"',
        "}",
    ]
    assert render({"a": 0.5}, "BatchingParameters", "", "2.99.0", allow_unsurveyed=True).splitlines()[1] == "a: 0.5"


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"max_batch_size": "8"}, "batching.max_batch_size: needs a whole number without quotes, not the string '8'; "),
        ({"a: 1 b": 1}, "batching.a: 1 b: 2.99.0 was not surveyed, "),
        ({"zeal": {"a: 1 b": 1}}, "batching.zeal.(a key): "),
        ({"zeal": {1, 2}}, "batching.zeal: is a set; write a boolean, a number, a string, a list or a mapping"),
        ({"zeal": float("inf")}, "batching.zeal: is "),
        ({"zeal": 2**63}, "batching.zeal: 9223372036854775808 does not fit into int64; "),
        (nested(MAX_DEPTH + 1), "batching.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"),
    ],
)
def test_the_permission_is_for_names_alone(data, sentence):
    with pytest.raises(WishError) as caught:
        render(data, "BatchingParameters", "batching", "2.99.0", allow_unsurveyed=True)
    assert str(caught.value).startswith(sentence)


def test_the_permission_means_nothing_to_a_surveyed_release_or_none():
    for version in ("", surveyed.newest()):
        with pytest.raises(WishError, match="frobnicate: BatchingParameters has no such field"):
            render({"frobnicate": 1}, "BatchingParameters", "", version, allow_unsurveyed=True)


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
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
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
        execution = draw(st.sampled_from(sizes))
        waiting = draw(st.integers(-(-sizes[-1] // execution), 2**63 - 1))
        data |= {"enable_large_batch_splitting": True, "max_execution_batch_size": execution}
        data |= {"max_enqueued_batches": waiting}
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


def any_of(message, depth=3):
    """Build a strategy from the table for a message: some of its fields, at most one of each oneof."""
    rows = [row for row in table("messages")["messages"][message] if (message, row["name"]) not in REFUSED_FIELDS]
    if depth == 0:
        rows = [row for row in rows if inner_type(row["type"]) not in table("messages")["messages"]]
    # All fields of a big message at once would make examples of megabytes.
    chosen = st.lists(st.sampled_from(rows), max_size=4, unique_by=lambda row: row.get("oneof") or row["name"])
    return (chosen if rows else st.just([])).flatmap(
        lambda some: st.fixed_dictionaries({row["name"]: values(row["type"], depth) for row in some})
    )


def inner_type(type_):
    return re.sub(r"^repeated |^map<\w+, |>$", "", type_)


def values(type_, depth):
    """Build a strategy for one type of the table."""
    if type_.startswith("repeated "):
        return st.lists(values(inner_type(type_), depth), max_size=2)
    if type_.startswith("map<"):
        key = type_[len("map<") :].split(", ")[0]
        return st.dictionaries(values(key, depth), values(inner_type(type_), depth), max_size=2)
    if type_ == "ThreadPoolOptionProto":
        return st.fixed_dictionaries({}, optional={"num_threads": st.integers(0, 2**31 - 1), "global_name": ANY_TEXT})
    if type_ in table("messages")["messages"]:
        return any_of(type_, depth - 1)
    if type_ in table("messages")["enums"]:
        return st.sampled_from(table("messages")["enums"][type_])
    if type_ in INTEGERS:
        return st.integers(INTEGERS[type_].start, INTEGERS[type_].stop - 1)
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=32 if type_ == "float" else 64)
    return {"bool": st.booleans(), "string": ANY_TEXT, "bytes": ANY_TEXT, "float": numbers, "double": numbers}[type_]


SESSION_MESSAGES = list(table("messages")["messages"])
SESSION_MESSAGES = SESSION_MESSAGES[SESSION_MESSAGES.index("ConfigProto") :]


@pytest.mark.parametrize("message", SESSION_MESSAGES)
def test_every_session_option_reads_back_as_it_was_wished(message):
    """Each field of every message below ConfigProto, by itself."""
    real_protos = pytest.importorskip("real_protos")
    from google.protobuf import text_format

    for row in table("messages")["messages"][message]:
        if (message, row["name"]) not in REFUSED_FIELDS:
            data = {row["name"]: sample(row["type"])}
            _check_message(data, message, "", Reader(), MAX_DEPTH)
            text = "\n".join(_message_lines(data, message))
            read = text_format.Parse(text, real_protos.message_class(message)())
            assert [field.name for field, _ in read.ListFields()] == [row["name"]], row


def test_what_articles_set_in_the_session_is_known():
    data = {
        "device_filters": ["/job:a"],
        "rpc_options": {"compression_level": 1},
        "cluster_def": {"job": [{"name": "a", "tasks": {0: "a:1", 1: "b:1"}}]},
        "experimental": {"disable_thread_spinning": True, "session_metadata": {"name": "a", "version": 3}},
        "gpu_options": {"experimental": {"virtual_devices": [{"memory_limit_mb": [512.0, 256.0]}]}},
        "graph_options": {
            "rewrite_options": {
                "meta_optimizer_iterations": "ONE",
                "memory_optimization": "NO_MEM_OPT",
                "optimizers": ["layout"],
                "custom_optimizers": [{"name": "a", "parameter_map": {"b": {"i": 1}, "c": {"list": {"s": ["d"]}}}}],
            }
        },
    }
    assert_reads_back(data, "ConfigProto")


def nested(depth):
    """Functions within the attributes of functions."""
    value = {"i": 1}
    for _ in range(depth):
        value = {"func": {"name": "f", "attr": {"a": value}}}
    optimizer = {"name": "a", "parameter_map": {"a": value}}
    return {"graph_options": {"rewrite_options": {"custom_optimizers": [optimizer]}}}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            {"cluster_def": {"job": [{"tasks": {"0": "a:1"}}]}},
            "cluster_def.job[0].tasks.0: the key is the string '0', not a whole number; "
            "write the number without quotes",
        ),
        (
            {"gpu_options": {"experimental": {"virtual_devices": [{"memory_limit_mb": [1e39]}]}}},
            "gpu_options.experimental.virtual_devices[0].memory_limit_mb[0]: the number does not fit into float; "
            "stay within 3.40282e+38",
        ),
        (
            {"operation_timeout_in_ms": 10**5000},
            "operation_timeout_in_ms: the number does not fit into int64; stay within -9223372036854775808 and "
            "9223372036854775807",
        ),
        (
            {"graph_options": {"rewrite_options": {"remapping": "SOMETIMES"}}},
            "graph_options.rewrite_options.remapping: the string 'SOMETIMES' is no Toggle; write one of DEFAULT, ON, "
            "OFF, AGGRESSIVE, EXPERIMENTAL_MLIR, EXPERIMENTAL_BOTH",
        ),
    ],
)
def test_session_options_that_do_not_fit_are_refused_at_their_place(data, sentence):
    assert refusal(data, "ConfigProto") == sentence


def test_messages_nest_as_deep_as_anyone_needs_and_not_deeper():
    assert_reads_back(nested(20), "ConfigProto")
    assert refusal(nested(5000), "ConfigProto").endswith("stands in more than 50 messages; nest it less deeply")


def sample(type_):
    """A value that differs from the field's default, so that it shows in what is read back."""
    if type_.startswith("repeated "):
        return [sample(inner_type(type_))]
    if type_.startswith("map<"):
        key = type_[len("map<") :].split(", ")[0]
        return {sample(key): sample(inner_type(type_))}
    if type_ in table("messages")["messages"]:
        return {}
    if type_ in table("messages")["enums"]:
        return table("messages")["enums"][type_][-1]
    if type_ in INTEGERS:
        return 3
    return {"bool": True, "string": "a", "bytes": "a", "float": 0.5, "double": 0.5}[type_]


@given(any_of("ConfigProto"))
def test_any_session_config_reads_back_as_it_was_wished(data):
    assert_reads_back(data, "ConfigProto")


@given(st.fixed_dictionaries({}, optional={"enable": st.booleans(), "path": ANY_TEXT.map("/{}".format)}))
def test_any_monitoring_config_reads_back_as_it_was_wished(prometheus):
    assert_reads_back({"prometheus_config": prometheus}, "MonitoringConfig")
