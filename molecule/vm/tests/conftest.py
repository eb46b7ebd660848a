# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks the machine twice for all tests: as root what its kernel says, as a user what a busy process gets."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from live import Live

HERE = Path(__file__).parent
SSH = ["ssh", "-F", str(Path(os.environ["FLEET_CACHE"]) / "lab/vm/ssh_config")]


def ask(login: str, script: Path, *arguments: str) -> dict:
    """Runs a Python script on the machine as `login` and returns the JSON it prints."""
    words = [*SSH, login, "python3", "-", *arguments]
    done = subprocess.run(words, input=script.read_text(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def live() -> Live:
    return Live(ask("vm", HERE / "collect.py"))


@pytest.fixture(scope="session")
def stray(live) -> dict:
    """What busy processes of a login session got, after asking for the CPUs that serve."""
    return ask("user@vm", HERE / "stray.py", ",".join(map(str, sorted(live.serving))))


def pytest_sessionfinish(session, exitstatus):
    """Show the end of the console beside failures: a kernel that complains does so there."""
    if exitstatus:
        console = Path(os.environ["FLEET_CACHE"]) / "lab/vm/run/console.log"
        if console.exists():
            print("\nconsole:\n" + "\n".join(console.read_text(errors="replace").splitlines()[-20:]))
