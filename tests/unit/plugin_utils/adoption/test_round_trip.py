# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Survey, wishes, plan, command line: what an old server reads and what the new one would read come to the same."""

from __future__ import annotations

import adopted_servers as old
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils import planner
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import check_place, command_line, effect
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.case import cases
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.unsafe import document
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.wishes import host_wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import flags as server_flags
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cases import box

MACHINE = box(2)


class Loader(yaml.SafeLoader):
    """Reads an inventory's file as Ansible does, with text that stays text."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def inventory(wishes):
    """Return the variables as the written file has them."""
    return yaml.load(document(wishes.variables, wishes.notes, "x"), Loader)


def planned(variables):
    """Return the plan of an inventory, without what a vault and a registry give."""
    policy = {
        "version": variables.get("tfserving_version", "2.19.1"),
        "install_method": variables.get("tfserving_install_method", "apt"),
        "releases": {
            "images": {
                version: image.replace("FILL-IN", "0" * 64)
                for version, image in variables.get("tfserving_images", {}).items()
            }
        },
        **({"overrides": variables["host_plan_policy"]} if "host_plan_policy" in variables else {}),
    }
    return planner.host_plan(MACHINE, variables["tfserving_instances"], variables["tfserving_models"], policy)


def assert_equal_in_effect(server, lost=()):
    """Check the plan of the written wishes against the old command line, read anew from the plan's own words."""
    survey = old.survey(server)
    (case,) = cases(survey)
    wishes = host_wishes(survey, MACHINE)
    assert [
        each.what for each in wishes.unwished if each.what not in ("its release", "the digest of its image")
    ] == list(lost)
    plan = planned(inventory(wishes))
    (instance,) = plan["instances"]
    version = plan["server"]["version"]
    new = command_line.read(server_flags.arguments(instance["flags"], version), version)
    assert not new.of("unknown", "separate", "stray", "bad", "dash", "overridden", "swallowed")
    before = effect.old_flags(case)
    for flag in command_line.rows():
        if flag in effect.MEANT or f"flags.{flag}" in lost:
            continue
        if effect.chosen(case, flag) or flag not in effect.IMPROVED:
            assert new[flag] == before[flag], flag
    published = check_place.host_ports(case)
    for kind, port in published.items():
        assert instance["ports"][kind] == port
    old_batches = case.batching
    assert (old_batches is None) == (instance["batching"] is None)
    for field, value in (old_batches or {}).items():
        assert instance["batching"][field] == value, field
    configs = instance["model_config"]["model_config_list"]["config"]
    assert [each["name"] for each in configs] == [model.name for model in case.models]
    assert [each.get("version_labels", {}) for each in configs] == [dict(model.labels) for model in case.models]
    return wishes, plan


@pytest.mark.parametrize("example", old.CLEAN, ids=lambda each: each.name)
def test_a_clean_example_comes_back_as_it_was(example):
    assert_equal_in_effect(example.server)


def test_only_what_differs_from_the_plan_is_an_override():
    wishes, _plan = assert_equal_in_effect(old.CLEAN[1].server)
    assert inventory(wishes) == {
        "tfserving_allow_from": ["any"],
        "tfserving_models": [
            {
                "name": "sentences",
                "version": 4,
                "source": {
                    "type": "path",
                    "remote": True,
                    "uri": "/srv/old/models/sentences/{version}",
                    "sha256": {"4": old.TREE},
                },
            }
        ],
        "tfserving_instances": [
            {
                "name": "tfs",
                "models": ["sentences"],
                "batching": {"enabled": False},
                "ports": {"grpc": 8511, "rest": 8510},
                "flags": {
                    "model_config_file_poll_wait_seconds": 60,
                    "tensorflow_intra_op_parallelism": 4,
                    "tensorflow_inter_op_parallelism": 4,
                },
            }
        ],
    }


def test_every_override_has_its_reason_above_it():
    wishes, _plan = assert_equal_in_effect(old.CLEAN[1].server)
    text = document(wishes.variables, wishes.notes, "what this is")
    assert text.startswith("---\n# what this is\n")
    assert (
        "      # the old command line says so; the plan has 10\n      model_config_file_poll_wait_seconds: 60\n" in text
    )
    assert (
        "      # the old server answers request by request; the plan would form batches\n      enabled: false" in text
    )


# Values that the planner grants on this machine, of flags that are no matter of other wishes.
GRANTED = {
    "rest_api_num_threads": st.integers(2, 300),
    "grpc_max_threads": st.integers(2, 300),
    "rest_api_timeout_in_ms": st.integers(0, 10**6),
    "rest_api_enable_cors_support": st.booleans(),
    "allow_version_labels_for_unavailable_models": st.booleans(),
    "num_load_threads": st.integers(1, 8),
    "num_unload_threads": st.integers(1, 8),
    "max_num_load_retries": st.integers(0, 9),
    "load_retry_interval_micros": st.integers(0, 10**9),
    "file_system_poll_wait_seconds": st.integers(1, 100),
    "flush_filesystem_caches": st.booleans(),
    "tensorflow_intra_op_parallelism": st.integers(1, 8),
    "tensorflow_inter_op_parallelism": st.integers(1, 8),
    "tensorflow_session_parallelism": st.integers(1, 8),
    "saved_model_tags": st.sampled_from(["serve", "serve,gpu"]),
    "grpc_channel_arguments": st.sampled_from(["grpc.max_connection_age_ms=2000", "grpc.keepalive_time_ms=1,a=b"]),
    "enable_model_warmup": st.booleans(),
    "num_request_iterations_for_warmup": st.integers(0, 9),
    "enable_profiler": st.booleans(),
    "remove_unused_fields_from_bundle_metagraph": st.booleans(),
    "enable_signature_method_name_check": st.booleans(),
    "xla_cpu_compilation_enabled": st.booleans(),
    "mixed_precision": st.sampled_from(["", "bfloat16"]),
    "model_config_file_poll_wait_seconds": st.integers(1, 600),
}
PORTS = st.lists(st.integers(1024, 65535), min_size=2, max_size=2, unique=True)
FIELDS = {
    "max_batch_size": st.integers(1, 512),
    "batch_timeout_micros": st.integers(0, 50_000),
    "max_enqueued_batches": st.integers(1, 900),
    "num_batch_threads": st.integers(1, 16),
}


@st.composite
def servers(draw):
    """Draw a server whose every word counts, in any order and any of its forms."""
    flags = draw(st.fixed_dictionaries({}, optional=GRANTED))
    if {"tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"} & set(flags):
        flags.pop("tensorflow_session_parallelism", None)
    grpc, rest = draw(PORTS)
    words = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in flags.items()]
    words += [f"--port={grpc}", f"--rest_api_port={rest}", old.CONFIGURED]
    files = old.files()
    fields = draw(st.none() | st.fixed_dictionaries({}, optional=FIELDS))
    if fields is not None:
        words += ["--enable_batching", "--batching_parameters_file=/b"]
        content = " ".join(f"{name} {{ value: {value} }}" for name, value in fields.items())
        files["batching_parameters_file"] = old.text("/b", f"# b\n{content}")
    return old.unit(*draw(st.permutations(words)), files=files)


@settings(max_examples=40)
@given(servers())
def test_a_command_line_whose_every_word_counts_comes_back_as_it_was(server):
    assert_equal_in_effect(server)
