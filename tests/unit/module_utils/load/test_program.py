# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The load generator is a program of its own: copied anywhere, under another name, it runs and needs nothing else."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import __main__ as program
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub import Stub
from load_stage import script, stage
from repository import REPOSITORY

FOLDER = REPOSITORY / "plugins" / "module_utils" / "load"
FILES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_imports_its_own_package_and_the_standard_library_alone(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (not node.level and node.module.partition(".")[0] in sys.stdlib_module_names)
        elif isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] in sys.stdlib_module_names for alias in node.names)


def test_a_copy_runs_by_itself_under_its_own_name(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "tfserving_load", ignore=shutil.ignore_patterns("__pycache__"))
    # A machine that stands still changes nothing.
    target = tmp_path / "tfserving_load" / "target.py"
    target.write_text(target.read_text().replace("CONNECT_S = 10.0", "CONNECT_S = 600.0"))
    # -I: neither PYTHONPATH nor what is installed for the user.
    command = [sys.executable, "-I", "-S", "-c", START, tmp_path, "run", tmp_path / "spec.json", tmp_path / "out"]
    with Stub(script()) as stub:
        (tmp_path / "spec.json").write_text(json.dumps(stage(stub, "rest")))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "out" / "result.json").read_text())["ok"] == 40


START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv[1:] = sys.argv[2:]
runpy.run_module("tfserving_load", run_name="__main__")
"""


@pytest.mark.parametrize("arguments", [[], ["run"], ["run", "spec.json"], ["calibrate"], ["fly", "a"]])
def test_other_arguments_get_the_usage(arguments, capsys):
    assert program.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: run SPEC.json OUT/ | calibrate OUT/ | look FILE.json | network FILE.json OUT/ | ")
