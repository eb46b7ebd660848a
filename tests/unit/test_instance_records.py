# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an instance serves, from the files beside it and from the process that runs."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import instance_records
from ansible_collections.tfserving.fleet.plugins.module_utils.text_proto import render

DESCRIBED = {"instance": {"name": "main", "ports": {"grpc": 8500, "rest": 8501}}, "models": []}
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
        for part in ({"name": "x"}, {"ports": 1})
    ],
)
def test_a_damaged_description_counts_as_none(tmp_path, content):
    assert described(tmp_path, content) is None


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
