# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole role model_builder; the builder's Python, pip and docker are doubles that note how they are called."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY
from running import run_playbook

PYTHON = """#!/bin/sh
case "$1" in
    -c) echo 3.11 x86_64;;
    -m) mkdir -p "$3/bin"; cp FOLDER/bin/pip "$3/bin/pip"; echo "$@" >> FOLDER/called;;
esac
"""
PIP = """#!/bin/sh
here=${0%/bin/pip}
echo "pip $*" >> FOLDER/called
mkdir -p "$here/lib/python3.11/site-packages/tensorflow_cpu-2.19.1.dist-info"
touch "$here/lib/python3.11/site-packages/tensorflow_cpu-2.19.1.dist-info/RECORD"
"""
DOCKER = """#!/bin/sh
echo "docker $*" >> FOLDER/called
[ "$1" != image ]
"""
IMAGE = "docker.io/tensorflow/tensorflow@sha256:" + "0" * 64


class Builder:
    """A builder, which is a directory of this host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "builder"
        (folder / "bin").mkdir()
        for name, script in (("python3.11", PYTHON), ("pip", PIP), ("docker", DOCKER)):
            path = folder / "bin" / name
            path.write_text(script.replace("FOLDER", str(folder)))
            path.chmod(0o755)
        facts = {"content": "{{ model_builder_result | default({}) | to_json }}", "dest": f"{folder}/result.json"}
        role = {"role": "tfserving.fleet.model_builder"}
        tell = {"name": "Tell", "ansible.builtin.copy": facts, "check_mode": False, "changed_when": False}
        play = {"name": "Build", "hosts": "all", "gather_facts": False, "roles": [role], "post_tasks": [tell]}
        (folder / "play.yml").write_text(yaml.safe_dump([play]))
        (folder / "hosts.yml").write_text(
            yaml.safe_dump({"all": {"hosts": {"builder-1": {"ansible_connection": "local"}}}})
        )

    def run(self, *options: str, **variables: str) -> str:
        """Run the role; return what the run printed."""
        given = {"model_builder_dir": str(self.place), "model_builder_server_version": "2.19.1", **variables}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = run_playbook(self.folder, "-i", "hosts.yml", "play.yml", *options, "-e", json.dumps(given), PATH=path)
        return done.stdout + done.stderr

    @property
    def called(self) -> list[str]:
        """Return how the doubles were called, but for questions."""
        path = self.folder / "called"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def result(self) -> dict[str, object]:
        return json.loads((self.folder / "result.json").read_text())


@pytest.fixture
def builder(tmp_path) -> Builder:
    return Builder(tmp_path)


def test_an_environment_is_made_once_and_removed_with_all_else(builder):
    assert " changed=5 " in builder.run("--check").replace("  ", " ")
    assert builder.called == []
    assert not builder.place.exists()

    assert " failed=0 " in builder.run(model_builder_wheels="/srv/wheels")
    made, installed = builder.called
    environment = next((builder.place / "environments").iterdir())
    assert environment.name.startswith("2.19-")
    assert made == f"-m venv {environment}"
    assert installed == (
        "pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: "
        f"--no-index --find-links /srv/wheels --requirement {environment}/requirements.txt"
    )
    pins = REPOSITORY / "roles" / "model_builder" / "files" / "requirements-2.19.txt"
    assert (environment / "requirements.txt").read_text() == pins.read_text()
    with zipfile.ZipFile(builder.place / "program.zip") as program:
        assert "optimizer/__main__.py" in program.namelist()
    assert builder.result == {
        "folder": str(builder.place),
        "work": f"{builder.place}/work",
        "minor": "2.19",
        "command": [
            "env",
            f"PYTHONPATH={builder.place}/program.zip",
            f"{environment}/bin/python",
            "-B",
            "-m",
            "optimizer",
        ],
    }

    assert "changed=0 " in builder.run()
    assert len(builder.called) == 2
    assert "changed=1 " in builder.run(model_builder_state="absent")
    assert not builder.place.exists()


def test_an_image_is_fetched_and_run_without_a_network(builder):
    variables = {"model_builder_server_version": "2.8.0", "model_builder_image": IMAGE}
    assert "changed=3 " in builder.run(**variables)
    assert builder.called[-1] == f"docker pull {IMAGE}"
    command = builder.result["command"]
    assert command[:4] == ["docker", "run", "--rm", "--network=none"]
    assert f"--volume={builder.place}:{builder.place}" in command
    assert command[-4:] == [IMAGE, "-B", "-m", "optimizer"]
