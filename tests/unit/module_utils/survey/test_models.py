# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions on disk, with the checksum by which a source of the type path is wished for."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import models, named_files
from ansible_collections.tfserving.fleet.plugins.module_utils.survey.inside import Inside
from ansible_collections.tfserving.fleet.plugins.module_utils.survey.model_configs import Model
from surveyed_host import SERVER, Host

DIGEST = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    made.process(10, [SERVER], cwd="/srv")
    return made


def read(host, path="/srv/m", seconds=60.0):
    return models.read(Inside(host.tree, 10), Model("m", path, {"stable": 1}), models.Budget(seconds))


def digest(folder):
    done = subprocess.run(DIGEST, shell=True, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_versions_have_their_numbers_and_the_checksums_of_their_trees(host):
    host.version("srv/m/1")
    host.version("srv/m/010", "another")
    host.write("srv/m/3", "a file is no version")
    host.write("srv/m/.hidden/x", "")
    found = read(host)
    assert found["versions_on_disk"] == [1, 10]
    assert found["sha256"] == {"1": digest(host.root / "srv/m/1"), "10": digest(host.root / "srv/m/010")}
    assert (found["host_path"], found["labels"], found["error"]) == ("/srv/m", {"stable": 1}, None)


def test_of_many_versions_the_newest_have_checksums(host):
    for version in range(1, 13):
        host.version(f"srv/m/{version}")
    found = read(host)
    assert found["versions_on_disk"] == list(range(1, 13))
    assert sorted(map(int, found["sha256"])) == list(range(5, 13))


def test_servers_that_share_a_model_have_it_read_once(host, monkeypatch):
    host.version("srv/m/1")
    read_ones = []
    monkeypatch.setattr(models, "directory_digest", lambda folder: read_ones.append(folder) or "0" * 64)
    budget, model = models.Budget(60.0), Model("m", "/srv/m", {})
    rows = [models.read(Inside(host.tree, 10), model, budget) for _server in range(3)]
    assert (len(read_ones), [row["sha256"] for row in rows]) == (1, [{"1": "0" * 64}] * 3)


def test_a_version_behind_a_link_is_read(host):
    host.version("data/one")
    (host.root / "srv/m").mkdir(parents=True)
    (host.root / "srv/m/1").symlink_to("/data/one")
    assert read(host)["sha256"] == {"1": digest(host.root / "data/one")}


def test_a_version_that_holds_links_has_no_checksum(host):
    host.version("srv/m/1")
    (host.root / "srv/m/1/link").symlink_to("saved_model.pb")
    found = read(host)
    assert (found["versions_on_disk"], found["sha256"]) == ([1], {})
    assert "it holds a symbolic link" in found["error"]


def test_a_version_that_would_take_too_long_is_listed_without_a_checksum(host):
    host.version("srv/m/1")
    found = read(host, seconds=0)
    assert (found["versions_on_disk"], found["sha256"]) == ([1], {})
    assert found["error"] == "it is too large for its checksum to be worked out in the time of a survey"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("gs://bucket/m", "its base path is not on this host"),
        ("/srv/missing", "No such file or directory"),
        ("/srv/file", "Not a directory"),
    ],
)
def test_a_base_path_that_cannot_be_read_says_why(host, path, error):
    host.write("srv/file", "")
    assert read(host, path)["error"] == error


def test_files_named_by_flags_are_read_from_the_working_directory(host):
    host.write("srv/models.config", "model_config_list {}\n")
    flags = {"model_config_file": "models.config", "batching_parameters_file": "/none"}
    found = named_files.read(Inside(host.tree, 10), flags)
    assert found.model_config == "model_config_list {}\n"
    assert found.shown["model_config_file"] == {
        "path": "models.config",
        "host_path": "/srv/models.config",
        "text": "model_config_list {}\n",
        "error": None,
    }
    assert found.shown["batching_parameters_file"]["error"] == "No such file or directory"


def test_a_file_with_a_key_is_never_read(host):
    host.write("srv/ssl.config", 'server_key: "-----BEGIN PRIVATE KEY-----planted"')
    os.chmod(host.root / "srv/ssl.config", 0o600)
    found = named_files.read(Inside(host.tree, 10), {"ssl_config_file": "/srv/ssl.config"})
    assert found.shown["ssl_config_file"]["text"] is None
    assert found.shown["ssl_config_file"]["error"] == "it holds a private key, and so is not read"


def test_a_file_at_an_address_is_not_looked_for(host):
    found = named_files.read(Inside(host.tree, 10), {"model_config_file": "gs://u:planted@bucket/x"})
    assert found.shown["model_config_file"] == {
        "path": "gs://***@bucket/x",
        "host_path": None,
        "text": None,
        "error": "it is not on this host",
    }
