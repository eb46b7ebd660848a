# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the survey tells of each old server is what prepare.yml has set up, and nothing secret is in it."""

from __future__ import annotations

import json

import pytest
from old_servers import OLD

FILES = "find /etc /srv/old /opt/old -xdev -type f -not -name launch.log -exec sha256sum {} + | sort"
PROCESSES = "ps -eo pid,lstart,args | grep [t]ensorflow_model_server"


def test_every_server_is_found_with_its_origin(servers):
    found = {name: (server["origin"]["kind"], server["listening"][0]["port"]) for name, server in servers.items()}
    assert found == OLD


def test_every_source_was_read(first):
    assert first["unread"] == []


def test_no_secret_is_in_the_survey(first):
    assert "planted" not in json.dumps(first)
    names = {name for server in first["servers"] for name in server["other_environment"]}
    assert {"REGISTRY_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "STORE_URL"} <= names


def test_the_survey_changes_nothing(host, surveyed, first):
    before = host.check_output(FILES), host.check_output(PROCESSES)
    again = surveyed()
    assert (host.check_output(FILES), host.check_output(PROCESSES)) == before
    assert [server["pid"] for server in again["servers"]] == [server["pid"] for server in first["servers"]]


@pytest.mark.parametrize("name", OLD)
def test_the_models_on_disk_have_their_checksums(name, servers, host):
    (model,) = servers[name]["models"]
    digest = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    known = {
        version: host.check_output(f"cd /srv/old/digits/{version} && {digest}").split()[0] for version in ("1", "2")
    }
    assert (model["host_path"], model["versions_on_disk"], model["sha256"]) == ("/srv/old/digits", [1, 2], known)


@pytest.mark.parametrize(
    ("name", "model", "versions"),
    [
        ("old-serving.service", "digits", [1, 2]),
        ("scores", "scores", [2]),
        # Its REST port is a word of its own, which the server does not take: it was asked by gRPC.
        ("tensorflow_model_server-9520", "by-hand", [2]),
        ("old-container", "digits", [2]),
    ],
)
def test_what_a_server_really_serves_is_asked(name, model, versions, servers):
    found = [(row["model"], row["version"], row["state"]) for row in servers[name]["serves"]]
    assert found == [(model, version, "AVAILABLE") for version in versions]


def test_a_unit_is_told_with_its_file_and_labels(servers):
    server = servers["old-serving.service"]
    assert server["user"] == "nobody"
    assert server["cwd"] == "/srv/old"
    assert server["labels"] == {"digits": {"canary": 2, "stable": 1}}
    file = server["files"]["model_config_file"]
    assert (file["path"], file["host_path"]) == ("models.config", "/srv/old/models.config")
    assert 'base_path: "/srv/old/digits"' in file["text"]
    unit = server["origin"]["unit"]
    assert (unit["Restart"], unit["TimeoutStopSec"], unit["enabled"]) == ("on-failure", "20s", True)


def test_a_container_is_told_with_its_mounts_and_limits(servers):
    server = servers["old-container"]
    container = server["origin"]["container"]
    assert server["argv"][1:] == [
        *("--port=8500", "--rest_api_port=8501", "--model_name=digits", "--model_base_path=/models/digits"),
        *("--port=9530", "--rest_api_port=9531"),
    ]
    assert {"source": "/srv/old", "target": "/models", "read_only": True} in container["mounts"]
    assert container["digest"].startswith("sha256:")
    assert (container["restart"], container["privileged"], container["tag_floating"]) == ("always", False, True)
    assert (container["memory_mb"], server["cgroup"]["memory_max_mb"]) == (2048, 2048)


def test_a_program_of_supervisord_is_told_with_its_file(servers):
    program = servers["scores"]["origin"]["supervisor"]
    assert (program["file"], program["autostart"], program["stopwaitsecs"]) == (
        *("/etc/supervisor/conf.d/old.conf", True, "20"),
    )
    assert servers["scores"]["environment"] == {"OMP_NUM_THREADS": "2"}


def test_a_server_below_a_launcher_has_its_words_as_they_are(servers):
    assert servers["tensorflow_model_server-9520"]["argv"][1:4] == ["--port=9520", "--rest_api_port", "9521"]


def test_what_would_start_a_server_is_found_though_it_does_not_run(first):
    found = {each["name"]: each for each in first["launchers"]}
    assert set(found) == {"retired-serving.service", "spare"}
    assert "MODEL_STORE_PASSWORD=***" in found["retired-serving.service"]["text"]
    assert found["spare"]["argv"] == [
        *("/opt/old/bin/tensorflow_model_server", "--port=9519", "--model_base_path=/srv/old/digits"),
    ]
