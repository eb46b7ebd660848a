# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server's flags, environment, files and time to start."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import flags, textproto
from planner_cases import IMAGE, box, model, only, refusal


def test_the_models_file_says_which_versions_are_served():
    models = [
        model("one", version=7),
        model("latest", serve={"latest": 1}),
        model("all", serve={"all": True}),
        model("some", serve={"versions": [6, 7], "labels": {"stable": 6}}),
    ]
    found = only({"models": ["one", "latest", "all", "some"]}, models)["model_config"]["model_config_list"]["config"]
    assert [each["model_version_policy"] for each in found] == [
        {"specific": {"versions": [7]}},
        {"latest": {"num_versions": 1}},
        {"all": {}},
        {"specific": {"versions": [6, 7]}},
    ]
    assert [each["base_path"] for each in found] == [f"/var/lib/tfserving/models/{each['name']}" for each in models]
    assert found[3]["version_labels"] == {"stable": 6}


def test_models_and_their_versions_come_without_a_restart():
    before = only()
    changed = [
        only(models=[model(version=8)]),
        only(models=[model(serve={"versions": [6, 7], "labels": {"canary": 7}})]),
        only(models=[model(memory_mb=500)]),
        only({"models": ["ranker", "other"]}, [model(), model("other")]),
    ]
    assert {each["digest"] for each in changed} == {before["digest"]}


@pytest.mark.parametrize(
    "wish", [{"profile": "latency"}, {"cpus": 3}, {"environment": {"A": "1"}}, {"ports": {"rest": 9000}}]
)
def test_everything_else_is_due_for_a_restart(wish):
    assert only(wish)["digest"] != only()["digest"]


def test_another_release_of_the_server_is_due_for_a_restart():
    assert only(version="2.18.0")["digest"] != only()["digest"]


def test_flags_of_users_join_those_of_the_plan():
    found = only({"flags": {"grpc_channel_arguments": "a=1", "max_num_load_retries": 5}})
    assert found["flags"]["grpc_channel_arguments"] == "a=1"
    assert found["flags"]["max_num_load_retries"] == 5
    assert set(found["overrides"]) == {"flags.grpc_channel_arguments", "flags.max_num_load_retries"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": 1}, "tfserving_instances[0].flags.port: is set by the plan; set ports.grpc of the instance"),
        ({"rest_api_port": 1}, "set ports.rest of the instance"),
        ({"model_base_path": "/x"}, "list the models in models of the instance"),
        ({"enable_batching": True}, "set batching.enabled of the instance"),
        ({"monitoring_config_file": "/x"}, "metrics are always on"),
        ({"platform_config_file": "/x"}, "it would switch off the threads, batching and memory of the plan"),
        ({"grpc_max_thread": 4}, "flags.grpc_max_thread: the server has no such flag and would go on without it; did"),
        ({"enable_profiler": "no"}, "flags.enable_profiler: needs a boolean, not the string 'no'"),
        (
            {"model_config_file_poll_wait_seconds": 0},
            "is 0, so no change of the models would ever arrive; use 1 or more",
        ),
        ({"file_system_poll_wait_seconds": 0}, "flags.file_system_poll_wait_seconds: 0 is below 1"),
    ],
)
def test_flags_that_cannot_work_are_refused(flags, message):
    assert message in refusal({"flags": flags})


def test_labels_need_the_flag_that_lets_a_server_start_with_them():
    flags = {"allow_version_labels_for_unavailable_models": False}
    models = [model(serve={"versions": [7], "labels": {"stable": 7}})]
    assert only({"flags": flags})
    assert "is false, and a server with labels would not start; remove it, or the labels" in refusal(
        {"flags": flags}, models
    )


def test_a_flag_newer_than_the_server_is_refused():
    flags = {"enable_serialization_as_tensor_content": True}
    assert "needs 2.19.0 or newer, this host gets 2.18.0" in refusal({"flags": flags}, version="2.18.0")


def test_variables_of_users_win_over_those_of_the_plan():
    found = only({"environment": {"MALLOC_CONF": "narenas:1", "A": "b"}})
    assert {"MALLOC_CONF", "A"} & set(found["environment"]) == set()
    assert list(found["environment_digests"]) == ["A", "MALLOC_CONF"]
    assert found["overrides"] == ["environment.MALLOC_CONF", "environment.A"]


def test_the_allocator_can_be_left_out():
    assert only(jemalloc={"enabled": False})["environment"] == {}


def test_a_start_is_given_the_time_that_its_models_take():
    assert only(models=[model(memory_mb=10_000)])["start_timeout_s"] == 170
    assert only()["start_timeout_s"] == 190
    assert only({"gpus": 1}, machine=box(), **IMAGE)["start_timeout_s"] == 310


def test_the_profiler_stays_off_unless_the_policy_wants_it():
    assert only()["flags"]["enable_profiler"] is False
    assert only(profiler=True)["flags"]["enable_profiler"] is True


def test_the_planner_asks_whether_files_can_be_written_and_writes_none(monkeypatch):
    monkeypatch.setattr(flags, "WRITERS", {})
    monkeypatch.setattr(textproto, "_message_lines", None)
    found = only({"flags": {"grpc_max_threads": 8}, "batching": {"max_batch_size": 8}})
    assert (found["flags"]["grpc_max_threads"], found["batching"]["max_batch_size"]) == (8, 8)
    with pytest.raises(KeyError):
        flags.arguments(found["flags"], "2.19.1")
    with pytest.raises(TypeError):
        textproto.render(found["batching"], "BatchingParameters")
