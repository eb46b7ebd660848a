# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A role of a tree of templates in a project of its own, and runs of a playbook over it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from running import run_playbook


def playbook(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run site.yml of a folder against this machine, from the clone and without a user's configuration."""
    interpreter = f"ansible_python_interpreter={sys.executable}"
    arguments = ("-i", "localhost,", "-c", "local", "site.yml", "-e", interpreter, *arguments)
    return run_playbook(folder, *arguments, **{"ANSIBLE_PIPELINING": "1", "ANSIBLE_ROLES_PATH": "roles", **environment})


def project(folder: Path, tasks: str, variables: dict[str, Any], templates: dict[str, bytes]) -> Path:
    """Write a playbook with one role."""
    role = folder / "roles" / "app"
    files = {f"templates/{path}": content for path, content in templates.items()}
    for path, content in {**files, "tasks/main.yml": tasks.encode()}.items():
        (role / path).parent.mkdir(parents=True, exist_ok=True)
        (role / path).write_bytes(content)
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "roles": ["app"]}
    (folder / "site.yml").write_text(json.dumps([play]))
    return folder
