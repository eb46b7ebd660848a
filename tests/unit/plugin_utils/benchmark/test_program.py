# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The load generator as one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import program


def test_the_same_sources_make_the_same_file():
    assert program.archive() == program.archive()


def test_python_runs_the_file_without_the_collection(tmp_path):
    file = tmp_path / "load.zip"
    file.write_bytes(program.archive())
    (tmp_path / "question.json").write_text("{}")
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path[:0] = [{str(file)!r}]; import tfserving_load.run as r",
    ]
    subprocess.run([*command[:-1], f"{command[-1]}; print(r.__file__)"], check=True, cwd=tmp_path)


def test_the_file_is_a_program(tmp_path):
    file = tmp_path / "load.zip"
    file.write_bytes(program.archive())
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tfserving_load", "run", "no.json", "out"],
        env={**os.environ, "PYTHONPATH": str(file)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.dumps(done.stdout) == '""'
