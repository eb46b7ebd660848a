# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs site.yml as a user would, with something wrong in the inventory."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Run:
    """A run that has ended."""

    status: int
    output: str

    @property
    def message(self) -> str:
        """The output as one line, so that a sentence can be looked for wherever the terminal broke it."""
        return " ".join(self.output.split())

    @property
    def changed(self) -> bool:
        return "changed=0" not in self.output


@pytest.fixture
def site(tmp_path):
    """Run site.yml against the scenario's host; keyword arguments override the inventory."""

    def run(*options: str, **variables) -> Run:
        overrides = tmp_path / "overrides.json"
        overrides.write_text(json.dumps(variables))
        done = subprocess.run(
            ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "-e", f"@{overrides}", *options, "site.yml"],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr)

    return run


@pytest.fixture
def archive(tmp_path):
    """Make a model archive on the controller from file names and contents."""

    def make(name: str, files: dict[str, bytes]) -> str:
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as packed:
            packed.add(folder, arcname=".")
        return str(tmp_path / f"{name}.tar.gz")

    return make


@pytest.fixture
def main(serving):
    """The instance that serves before and after all that goes wrong."""
    return serving("main", 8501)


@pytest.fixture(autouse=True)
def goes_on_serving(main, known):
    """Whatever a test provokes, the process stays, or comes back, and gives the known answer."""
    yield
    sample = known("digits")
    answer = main.predict("digits", sample["request"])["predictions"]
    assert [one["class_id"] for one in answer] == [one["class_id"] for one in sample["answers"]["1"]["predictions"]]
    assert main.show("ActiveState") == "active"
