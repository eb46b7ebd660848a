# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an instance serves, from the files beside it and from the process that runs."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import records as instance_records
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import render

DESCRIBED = {"instance": {"name": "main", "ports": {"grpc": 8500, "rest": 8501}}, "models": []}
GOLDEN = {"name": "first", "line": 1, "rtol": 0.0, "atol": 0.0, "inputs": {"x": [1]}, "expect": {"y": [1]}}
ODD = ({"name": 5}, {"rtol": "x"}, {"expect": [1]}, {"shape": {"y": "x"}}, {"dtype": {"y": 5}}, {"max_latency_ms": "x"})
HEALTH = (
    "ExecStart={ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 -I tfserving-health --rest-port=8501 --models=a,b ; }"
)


def described(root, content, name="main"):
    (root / name).mkdir()
    (root / name / "models.config").write_text("")
    (root / name / "instance.json").write_text(content)
    return instance_records.read(str(root), name)


def test_a_description_is_read_as_it_was_written(tmp_path):
    assert described(tmp_path, json.dumps(DESCRIBED)) == DESCRIBED
    assert instance_records.names(str(tmp_path)) == ["main"]


@pytest.mark.parametrize(
    "content",
    ["", "null", "5", "[]", "{", '{"instance": 5}', json.dumps({**DESCRIBED, "models": 1}), "[" * 100_000]
    + [
        json.dumps({**DESCRIBED, "instance": {**DESCRIBED["instance"], **part}})
        for part in (
            *({"name": "x"}, {"ports": 1}, {"ports": {"rest": 99_999}}, {"ports": {"rest": "x"}}, {"flags": [1]}),
            *({"ports": {"rest": float("inf")}}, {"start_timeout_s": "x"}, {"models": [5]}, {"model_config": 5}),
            {"flags": {"file_system_poll_wait_seconds": "x"}},
            *(
                {"model_config": {"model_config_list": {"config": config}}}
                for config in (
                    5,
                    [5],
                    [{}],
                    [{"name": "a", "base_path": 5}],
                    [{"name": "a", "version_labels": {"x": []}}],
                )
            ),
            *(
                {"model_config": {"model_config_list": {"config": [{"name": "a", "model_version_policy": policy}]}}}
                for policy in (5, {"specific": {}}, {"specific": {"versions": ["x"]}}, {"latest": 5})
            ),
        )
    ]
    + [
        json.dumps({**DESCRIBED, "models": [model]})
        for model in (
            *(5, {}, {"name": "a", "probe": 5}, {"name": "a", "contract": 5}, {"name": "a", "golden": 5}),
            *({"name": "a", "golden": {"file": "g", "requests": [{**GOLDEN, **odd}]}} for odd in ODD),
        )
    ],
)
def test_a_damaged_description_counts_as_none(tmp_path, content):
    assert described(tmp_path, content) is None


def test_golden_requests_are_part_of_a_description(tmp_path):
    models = [{"name": "a", "probe": None, "golden": {"file": "golden/a.jsonl", "total": 1, "requests": [GOLDEN]}}]
    assert described(tmp_path, json.dumps({**DESCRIBED, "models": models}))["models"] == models


@pytest.mark.parametrize("name", ["instance.json", "models.config"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_not_waited_for(tmp_path, name, make):
    (tmp_path / "main").mkdir()
    make(str(tmp_path / "main" / name))
    assert instance_records.read(str(tmp_path), "main") is None
    assert instance_records.derived(str(tmp_path), "main", HEALTH)["instance"]["ports"] == {"rest": 8501}


@pytest.mark.parametrize("port", ["0", "65536", "99999", "9" * 5000, "\u0665"])
def test_a_port_that_no_server_can_have_is_none(tmp_path, port):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cmdline").write_text(f"server\0--rest_api_port={port}\0--port=8500\0")
    assert instance_records.ports_of(7, tmp_path) == {"grpc": 8500}
    assert instance_records.derived(str(tmp_path), "main", f"--rest-port={port}") is None


def test_without_a_description_the_other_files_tell(tmp_path):
    configs = [
        {"name": "a", "base_path": "/srv/a", "model_version_policy": {"specific": {"versions": [6, 7]}}},
        {"name": "b", "base_path": "/srv/b", "model_version_policy": {"latest": {"num_versions": 2}}},
        {"name": "c", "base_path": "/srv/c", "model_version_policy": {"all": {}}},
    ]
    config = {"model_config_list": {"config": [{**one, "model_platform": "tensorflow"} for one in configs]}}
    (tmp_path / "main").mkdir()
    (tmp_path / "main/models.config").write_text(render(config, "ModelServerConfig"))
    found = instance_records.derived(str(tmp_path), "main", HEALTH)
    assert found["instance"]["ports"] == {"rest": 8501}
    assert found["instance"]["models"] == ["a", "b"]
    assert found["instance"]["model_config"] == {"model_config_list": {"config": configs}}


@pytest.mark.parametrize("content", ['base_path: "/a"', 'name: "a"\n versions: x', ""])
def test_a_models_file_that_is_not_ours_tells_no_versions(tmp_path, content):
    (tmp_path / "main").mkdir()
    (tmp_path / "main/models.config").write_text(content)
    found = instance_records.derived(str(tmp_path), "main", HEALTH)
    assert "model_config" not in found["instance"]


def test_where_nothing_names_a_port_nothing_is_known(tmp_path):
    assert instance_records.derived(str(tmp_path), "main", "ExecStart=") is None


def test_the_ports_of_a_process_are_those_of_its_command_line(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cmdline").write_text("server\0--port=8500\0--rest_api_port=8501\0--rest_api_num_threads=4\0")
    assert instance_records.ports_of(7, tmp_path) == {"grpc": 8500, "rest": 8501}
    assert instance_records.ports_of(8, tmp_path) == instance_records.ports_of(0, tmp_path) == {}
