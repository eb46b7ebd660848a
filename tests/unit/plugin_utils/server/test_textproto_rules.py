# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What parses and still cannot work is refused with the reason, at its place."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import render
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from proto_cases import config, model, refusal

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LIST = "wish.model_config_list"


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        (
            [model(), model(name="ads"), model()],
            "config[2].name: the string 'ranker' is also the name of entry 0, and the server refuses duplicates; "
            "give each model its own name",
        ),
        ([model(name=None)], "config[0].name: every model needs one; write something like 'ranker'"),
        ([model(name="")], "config[0].name: every model needs one; write something like 'ranker'"),
        (
            [model(base_path=None)],
            "config[0].base_path: every model needs one; write something like '/var/lib/tfserving/models/ranker'",
        ),
        (
            [model(base_path="models")],
            "config[0].base_path: the string 'models' is relative, which the server refuses at start; "
            "write an absolute path such as /var/lib/tfserving/models/NAME, or a URI",
        ),
        (
            [model(model_platform=None)],
            "config[0].model_platform: the released servers know only the platform 'tensorflow'; "
            "write model_platform: tensorflow",
        ),
        (
            [model(model_platform="pytorch")],
            "config[0].model_platform: the released servers know only the platform 'tensorflow'; "
            "write model_platform: tensorflow",
        ),
        (
            [model(model_type="TENSORFLOW")],
            "config[0].model_type: is deprecated and excludes model_platform; write model_platform: tensorflow",
        ),
        (
            [model(logging_config={})],
            "config[0].logging_config: the released servers have no log collector and leave once every model is "
            "loaded; leave it out and log requests in the gateway",
        ),
        (
            [model(platform_config={})],
            "config[0].platform_config: ModelConfig has no such field in any release, and the server would refuse the "
            "whole file; leave it out: a platform is set for the whole process",
        ),
        (
            [model(versions=[1])],
            "config[0].versions: ModelConfig has no such field in any release, and the server would refuse the "
            "whole file; write model_version_policy: {specific: {versions: [...]}}",
        ),
        (
            [model(model_version_policy={})],
            "config[0].model_version_policy: names no policy; "
            "write one of latest, all and specific, or leave the field out",
        ),
        (
            [model(model_version_policy={"latest": {"num_versions": 0}})],
            "config[0].model_version_policy.latest.num_versions: 0 means 1 to the server; "
            "write 1, or take the model out of the list",
        ),
        (
            [model(model_version_policy={"latest": {"num_versions": -1}})],
            "config[0].model_version_policy.latest.num_versions: -1 does not fit into uint32; "
            "stay within 0 and 4294967295",
        ),
        (
            [model(model_version_policy={"specific": {"versions": []}})],
            "config[0].model_version_policy.specific.versions: without a version the server unloads the model; "
            "name the versions",
        ),
        (
            [model(model_version_policy={"specific": {"versions": [1, -1]}})],
            "config[0].model_version_policy.specific.versions[1]: -1 is below 0, no REST path can name it; use 0 up",
        ),
        (
            [model(version_labels={"stable": 5}, model_version_policy={"specific": {"versions": [6, 7]}})],
            "config[0].version_labels.stable: points at version 5, and the policy serves 6, 7; "
            "add 5 to the policy's versions or move the label",
        ),
        (
            [model(version_labels={"": 5})],
            "config[0].version_labels: a label is empty, so no request can name it; use letters, digits and '_'",
        ),
    ],
)
def test_models_that_the_server_would_not_start_with_are_refused(models, sentence):
    assert refusal(config(*models), "ModelServerConfig", "wish") == f"{LIST}.{sentence}"


def test_a_custom_model_config_is_refused():
    assert refusal({"custom_model_config": {}}, "ModelServerConfig") == (
        "custom_model_config: the released servers abort when they meet it; use model_config_list"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"max_batch_size": 0}, "max_batch_size: 0 is below 1, and a batch must hold a request; write 1 or more"),
        (
            {"batch_timeout_micros": -1},
            "batch_timeout_micros: -1 is below 0, and a wait cannot be negative; write 0 or more",
        ),
        (
            {"max_enqueued_batches": 0},
            "max_enqueued_batches: 0 is below 1, and a queue must hold a batch; write 1 or more",
        ),
        (
            {"num_batch_threads": 0},
            "num_batch_threads: 0 is below 1, and the server does not start without a thread that runs batches; "
            "write 1 or more",
        ),
        (
            {"max_execution_batch_size": 0, "max_batch_size": 8, "enable_large_batch_splitting": True},
            "max_execution_batch_size: 0 is below 1, and a batch must hold a request; write 1 or more",
        ),
        (
            {"allowed_batch_sizes": [8, 16], "max_batch_size": 32},
            "allowed_batch_sizes: ends in 16 and not in max_batch_size 32, so no model would load; "
            "end the list in 32 or set max_batch_size to 16",
        ),
        (
            {"allowed_batch_sizes": [8, 16]},
            "allowed_batch_sizes: ends in 16 and not in max_batch_size, unset and therefore 1000, "
            "so no model would load; end the list in 1000 or set max_batch_size to 16",
        ),
        (
            {"allowed_batch_sizes": [16, 8, 32], "max_batch_size": 32},
            "allowed_batch_sizes: [16, 8, 32] does not rise from 1 or more, and the server takes the first entry that "
            "fits; write each size once, smallest first",
        ),
        (
            {"allowed_batch_sizes": [0, 32], "max_batch_size": 32},
            "allowed_batch_sizes: [0, 32] does not rise from 1 or more, and the server takes the first entry that "
            "fits; write each size once, smallest first",
        ),
        (
            {"max_execution_batch_size": 8, "max_batch_size": 8},
            "max_execution_batch_size: is read only when enable_large_batch_splitting is true; "
            "set enable_large_batch_splitting to true or leave this out",
        ),
        (
            {"enable_large_batch_splitting": True, "max_execution_batch_size": 8},
            "max_batch_size: must be set when enable_large_batch_splitting is true: the server takes 0 for it; "
            "write the largest request to accept",
        ),
        (
            {"enable_large_batch_splitting": True, "max_execution_batch_size": 9, "max_batch_size": 8},
            "max_execution_batch_size: 9 exceeds max_batch_size (8); write at most max_batch_size",
        ),
        (
            {"enable_large_batch_splitting": True, "max_execution_batch_size": 8, "max_batch_size": 81},
            "max_batch_size: 81 rows are 11 batches of 8, and max_enqueued_batches lets 10 wait; "
            "write at most 80, or raise max_enqueued_batches",
        ),
        (
            {
                "enable_large_batch_splitting": True,
                "max_execution_batch_size": 8,
                "max_batch_size": 64,
                "allowed_batch_sizes": [4, 64],
            },
            "allowed_batch_sizes: has no 8, so each full batch (max_execution_batch_size) is padded to 64 rows; "
            "add 8 to the list",
        ),
    ],
)
def test_batching_that_cannot_work_is_refused_with_the_reason(data, sentence):
    assert refusal(data, "BatchingParameters") == sentence
    assert refusal(data, "BatchingParameters", "batching") == f"batching.{sentence}"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            {"gpu_options": {"per_process_gpu_memory_fraction": 0.5}},
            "gpu_options.per_process_gpu_memory_fraction: the server overwrites this field with a flag, even with the "
            "flag's default; use the flag per_process_gpu_memory_fraction",
        ),
        (
            {"intra_op_parallelism_threads": 2},
            "intra_op_parallelism_threads: the server overwrites this field with a flag, even with the flag's default; "
            "use the flag tensorflow_intra_op_parallelism",
        ),
        (
            {"inter_op_parallelism_threads": 2},
            "inter_op_parallelism_threads: the server overwrites this field with a flag, even with the flag's default; "
            "use the flag tensorflow_inter_op_parallelism",
        ),
        (
            {"session_inter_op_thread_pool": [{"num_threads": -1}]},
            "session_inter_op_thread_pool[0].num_threads: -1 is below 0, and a pool cannot have fewer than no threads; "
            "write a count, or 0 to let TensorFlow choose",
        ),
    ],
)
def test_session_options_that_the_server_overwrites_are_refused(data, sentence):
    assert refusal(data, "SessionConfigProto") == sentence


def test_a_metrics_path_must_be_one_that_requests_can_have():
    assert refusal({"prometheus_config": {"enable": True, "path": "metrics"}}, "MonitoringConfig") == (
        "prometheus_config.path: the string 'metrics' does not begin with '/', so no request matches it; "
        "write '/metrics'"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"server_cert": PEM}, "server_key: TLS needs a key and a certificate; write its PEM text"),
        ({"server_key": PEM}, "server_cert: TLS needs a key and a certificate; write its PEM text"),
        (
            {"server_key": "/etc/ssl/secret.key", "server_cert": PEM},
            "server_key: is not PEM text (the server does not take a file name here); "
            "write the content of the PEM file",
        ),
        (
            {"server_key": PEM, "server_cert": PEM, "custom_ca": "ca.pem"},
            "custom_ca: is not PEM text (the server does not take a file name here); write the content of the PEM file",
        ),
        (
            {"client_verify": "secret"},
            "client_verify: needs true or false without quotes, not a string; write true or false without quotes",
        ),
    ],
)
def test_tls_without_pem_text_is_refused_and_nothing_secret_is_repeated(data, sentence):
    assert refusal(data, "SSLConfig") == sentence


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "PlatformConfigMap",
            "PlatformConfigMap is not written here: it switches off every flag that describes the platform; "
            "use those flags, or keep the file by hand and name it in the flag platform_config_file",
        ),
        (
            "ThreadPoolFactoryConfig",
            "ThreadPoolFactoryConfig names a factory, and the released servers register none; "
            "leave thread_pool_factory_config_file unset",
        ),
        (
            "BatchingParameter",
            "the string 'BatchingParameter' is not a message that the server reads from a file; "
            "did you mean 'BatchingParameters'?",
        ),
        (
            [],
            "a list is not a message that the server reads from a file; use one of ModelServerConfig, "
            "BatchingParameters, MonitoringConfig, SSLConfig, SessionConfigProto, ConfigProto",
        ),
    ],
)
def test_other_messages_are_refused(message, sentence):
    assert refusal({}, message) == sentence


@pytest.mark.parametrize("version", surveyed.releases())
def test_every_surveyed_release_knows_how_to_cut_large_requests(version):
    data = {"enable_large_batch_splitting": True, "max_execution_batch_size": 4, "max_batch_size": 8}
    assert render(data, "BatchingParameters", version=version).splitlines()[1:] == [
        "max_batch_size { value: 8 }",
        "enable_large_batch_splitting { value: true }",
        "max_execution_batch_size { value: 4 }",
    ]
