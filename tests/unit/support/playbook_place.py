# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs playbooks in a folder of their own, with this machine or a port that nobody answers as the hosts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from running import playbook_command, playbook_environment

HERE = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
# Port 1 of this machine: refused at once.
DEAD = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


class Place:
    """A folder with an inventory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def inventory(self, groups: dict[str, Any], **variables: Any) -> None:
        """Keep an inventory of groups, each host to its variables."""
        children = {group: {"hosts": hosts} for group, hosts in groups.items()}
        content = {"all": {"children": children, "vars": {**HERE, **variables}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(content))

    def playbook(self, *tasks: dict[str, Any], **play: Any) -> None:
        """Keep a playbook of one play, as play.yml."""
        content = [{"hosts": "all", "gather_facts": False, **play, "tasks": list(tasks)}]
        (self.folder / "play.yml").write_text(yaml.safe_dump(content))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ansible-playbook; its output is read with communicate()."""
        command, environment = playbook_command("-i", "hosts.yml", *arguments), playbook_environment(self.folder)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True, **pipes)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return the exit status and the output of ansible-playbook, with wrapped lines joined."""
        process = self.start(*arguments)
        output, _none = process.communicate()
        return process.returncode, " ".join(output.split())
