# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs modules and playbooks as users run them: from the clone, without a configuration of the user's."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from repository import REPOSITORY

COLLECTIONS = str(REPOSITORY / "collections")
# `make floor` puts another ansible-core there, which the programs that tests start are to use as well.
CORE = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
# What one module has compiled serves the next (compiled_modules/sitecustomize.py), until the tests are over.
QUICK = str(Path(__file__).with_name("compiled_modules"))
COMPILED = tempfile.TemporaryDirectory(prefix="compiled-modules-", ignore_cleanup_errors=True)


def run_module(module: ModuleType, **arguments: Any) -> dict[str, Any]:
    """Run a module's main() in this process, where tests can put doubles in place; return its result."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(output.getvalue())


def run_module_alone(name: str, folder: Path, **arguments: Any) -> dict[str, Any]:
    """Run a module in a process of its own, as a host does; return its result."""
    script = f"from ansible_collections.tfserving.fleet.plugins.modules import {name} as m; m.main()"
    arguments = {"_ansible_remote_tmp": str(folder), "_ansible_tmpdir": str(folder), **arguments}
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*CORE.values(), COLLECTIONS])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def playbook_command(*arguments: object) -> list[str]:
    """Return the command that runs ansible-playbook with this Python."""
    return [sys.executable, str(Path(sys.executable).with_name("ansible-playbook")), *map(str, arguments)]


def playbook_environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a run whose files all stay in a folder."""
    return {
        "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
        "ANSIBLE_ROLES_PATH": "/nonexistent",
        "ANSIBLE_LOCAL_TEMP": str(folder / ".ansible/controller-tmp"),
        "ANSIBLE_REMOTE_TEMP": str(folder / ".ansible/host-tmp"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([*CORE.values(), QUICK]),
        "COMPILED_MODULES": COMPILED.name,
        **more,
    }


def run_playbook(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in a folder, and return its exit status and what it printed."""
    return subprocess.run(
        playbook_command(*arguments),
        cwd=folder,
        env=playbook_environment(folder, **environment),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
