# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every key of the wish tables is explained to people, and makes a difference."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.batching import OWN_KEYS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import checks as wish_fields
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import instances as wish_instances
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import models as wish_models
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as policies
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import secrets as plan_secrets
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import source as model_source
from planner_cases import IMAGE, KEY, box, instance, model
from repository import REPOSITORY

DOCS = (REPOSITORY / "docs" / "wishes.md").read_text(encoding="utf-8")
HTTP = {"type": "http", "uri": "https://h/{version}", "sha256": {"7": "a" * 64, "8": "b" * 64}}
PATH = {"type": "path", "uri": "/srv/{version}"}
MLFLOW = {"type": "mlflow", "uri": "https://mlflow.example.com", "model": "ranker"}
S3 = {"type": "s3", "uri": "s3://models/ranker/{version}/"}
TENSOR = {"outputs": {"y": {"dtype": "DT_FLOAT"}}}

# Two wishes that differ in the key alone.
MODEL = {
    "name": ({"name": "ranker"}, {"name": "other"}),
    "source": ({"source": PATH}, {"source": {**PATH, "uri": "/opt/{version}"}}),
    "version": ({"version": 7}, {"version": 8}),
    "versions": ({"version": None, "versions": [7]}, {"version": None, "versions": [7, 8]}),
    "serve": ({"serve": {"versions": [7]}}, {"serve": {"all": True}}),
    "keep": ({"keep": 3}, {"keep": 4}),
    "contract": ({}, {"contract": TENSOR}),
    "probe": ({}, {"probe": {"instances": [1]}}),
    "golden": ({}, {"golden": "golden/ranker.jsonl"}),
    "warmup": ({}, {"warmup": False}),
    "memory_mb": ({}, {"memory_mb": 100}),
    "rollout": ({}, {"rollout": {}}),
    "cache": ({}, {"cache": {"ttl_s": 60}}),
    "source.type": ({"source": {**HTTP, "type": "http"}}, {"source": {**PATH, "uri": "/x/{version}"}}),
    "source.uri": ({"source": HTTP}, {"source": {**HTTP, "uri": "https://h/{version}?sig=1"}}),
    "source.sha256": ({"source": HTTP}, {"source": {**HTTP, "sha256": {"7": "c" * 64, "8": "b" * 64}}}),
    "source.remote": ({"source": PATH}, {"source": {**PATH, "remote": True}}),
    "source.headers": ({"source": HTTP}, {"source": {**HTTP, "headers": {"X": "1"}}}),
    "source.model": ({"source": MLFLOW}, {"source": {**MLFLOW, "model": "other"}}),
    "source.alias": ({"source": MLFLOW}, {"source": {**MLFLOW, "alias": "champion"}}),
    "source.endpoint": ({"source": S3}, {"source": {**S3, "endpoint": "https://minio.example.com"}}),
    "source.region": ({"source": S3}, {"source": {**S3, "region": "eu-central-1"}}),
    "source.path_style": ({"source": S3}, {"source": {**S3, "path_style": True}}),
    "source.credentials": ({"source": MLFLOW}, {"source": {**MLFLOW, "credentials": {"token": "x"}}}),
    "serve.latest": ({"serve": {"latest": 1}}, {"serve": {"latest": 2}}),
    "serve.all": ({}, {"serve": {"all": True}}),
    "serve.versions": ({"serve": {"versions": [7]}}, {"serve": {"versions": [7, 8]}}),
    "serve.labels": ({"serve": {"versions": [7]}}, {"serve": {"versions": [7], "labels": {"stable": 7}}}),
    "probe.instances": ({"probe": {"instances": [1]}}, {"probe": {"instances": [2]}}),
    "probe.inputs": ({"probe": {"inputs": {"x": [1]}}}, {"probe": {"inputs": {"x": [2]}}}),
    "probe.signature_name": ({"probe": {"instances": [1]}}, {"probe": {"instances": [1], "signature_name": "b"}}),
    "probe.expect": ({"probe": {"instances": [1]}}, {"probe": {"instances": [1], "expect": [1]}}),
}
INSTANCE = {
    "name": ({"name": "a"}, {"name": "b"}),
    "models": ({"models": ["ranker"]}, {"models": ["ranker", "second"]}),
    "profile": ({"profile": "latency"}, {"profile": "throughput"}),
    "slo_p99_ms": ({"slo_p99_ms": 50}, {"slo_p99_ms": 500}),
    "gpus": ({"gpus": 0}, {"gpus": 1}),
    "cpus": ({"cpus": 2}, {"cpus": 3}),
    "ports": ({}, {"ports": {"grpc": 9000}}),
    "ports.grpc": ({}, {"ports": {"grpc": 9000}}),
    "ports.rest": ({}, {"ports": {"rest": 9000}}),
    "batching": ({}, {"batching": {"enabled": False}}),
    "flags": ({}, {"flags": {"rest_api_timeout_in_ms": 20000}}),
    "environment": ({"environment": {"A": 1}}, {"environment": {"A": 2}}),
    "weight": ({"weight": 1}, {"weight": 3}),
    "batching.enabled": ({}, {"batching": {"enabled": False}}),
    "batching.expected_batch_ms": ({"batching": {"enabled": True}}, {"batching": {"expected_batch_ms": 20}}),
    "batching.max_batch_size": ({"batching": {"max_batch_size": 8}}, {"batching": {"max_batch_size": 16}}),
    "batching.batch_timeout_micros": ({}, {"batching": {"batch_timeout_micros": 7}}),
    "batching.max_enqueued_batches": ({}, {"batching": {"max_enqueued_batches": 7}}),
    "batching.num_batch_threads": ({}, {"batching": {"num_batch_threads": 2}}),
    "batching.thread_pool_name": ({}, {"batching": {"thread_pool_name": "x"}}),
    "batching.enable_large_batch_splitting": (
        {"batching": {"max_batch_size": 8}},
        {"batching": {"max_batch_size": 8, "enable_large_batch_splitting": True, "max_execution_batch_size": 4}},
    ),
    "batching.max_execution_batch_size": (
        {"batching": {"max_batch_size": 8, "enable_large_batch_splitting": True, "max_execution_batch_size": 2}},
        {"batching": {"max_batch_size": 8, "enable_large_batch_splitting": True, "max_execution_batch_size": 4}},
    ),
    "batching.allowed_batch_sizes": (
        {"batching": {"max_batch_size": 8}},
        {"batching": {"max_batch_size": 8, "allowed_batch_sizes": [2, 8]}},
    ),
    "batching.pad_variable_length_inputs": ({}, {"batching": {"pad_variable_length_inputs": True}}),
}


def below(name, table):
    return {f"{name}.{key}" for key in table}


def test_every_key_of_the_tables_is_tried():
    models = {*wish_models.FIELDS, *below("source", model_source.known()), *below("serve", wish_fields.SERVE_FIELDS)}
    instances = {*wish_instances.FIELDS, *below("ports", wish_fields.PORT_FIELDS)}
    assert {key for key in MODEL if not key.startswith("probe.")} == models
    assert set(INSTANCE) == instances | below("batching", wish_instances.BATCHING_FIELDS)


def test_the_keys_of_batching_are_the_servers_fields_and_the_planners_own():
    surveyed = {field["name"] for field in table("messages")["messages"]["BatchingParameters"]}
    assert set(wish_instances.BATCHING_FIELDS) == surveyed | set(OWN_KEYS)


@pytest.mark.parametrize("key", [*MODEL, *INSTANCE])
def test_every_key_is_explained(key):
    # The fields of BatchingParameters are the server's, and its documentation explains them.
    last = key.rpartition(".")[2]
    assert key.startswith("batching.") or f"`{key}`" in DOCS or f"{last}:" in DOCS or f"`{last}`" in DOCS


# A version in force, which a model with a roll-out keeps.
POLICY = {**IMAGE, "in_force": {"ranker": {"versions": [6]}}}


def everything(instances, models):
    """Return all that the wishes come to: the plan, and what travels beside it."""
    plan, settings = host_plan(box(), instances, models, POLICY, KEY), policies.complete(POLICY)
    return json.dumps(
        [plan, plan_secrets.secrets(read.read(instances, models, settings), KEY, settings)], sort_keys=True
    )


@pytest.mark.parametrize("key", MODEL)
def test_every_key_of_a_model_changes_something(key):
    found = []
    for keys in MODEL[key]:
        one = {**model(source=PATH), **keys}
        found.append(everything([instance(models=[one["name"]], batching={"enabled": False})], [one]))
    assert found[0] != found[1]


@pytest.mark.parametrize("key", INSTANCE)
def test_every_key_of_an_instance_changes_something(key):
    models = [model(), model("second")]
    found = []
    for keys in INSTANCE[key]:
        others = [instance("neighbour", ["second"])] if key == "weight" else []
        found.append(everything([{**instance(), **keys}, *others], models))
    assert found[0] != found[1]
