# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The output of a run by the callback progress, without a terminal and on one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY
from running import CORE

HOSTS = {"h1": {}, "h2": {}}
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
PLAYS = [
    {
        "name": "Prepare",
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"name": "Find nothing to do", "ansible.builtin.command": "true", "changed_when": False},
            {
                "name": "Wait for a file",
                "ansible.builtin.shell": {
                    "cmd": "test -e waited || { touch waited; exit 1; }",
                    "chdir": "{{ inventory_dir }}",
                },
                "changed_when": False,
                "register": "waited",
                "until": "waited is succeeded",
                "retries": 5,
                "delay": 0,
                "run_once": True,
            },
            {"name": "Skip it", "ansible.builtin.command": "true", "when": False, "changed_when": False},
            {
                "name": "Write a file",
                "ansible.builtin.copy": {"content": "new\n", "dest": "{{ inventory_dir }}/{{ inventory_hostname }}"},
            },
            {"name": "Show a warning", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} is small"}},
            {"name": "Print", "tfserving.fleet.report": {"text": "TABLE"}, "run_once": True},
        ],
    },
    {"name": "Nobody by intention", "hosts": "!all", "tasks": []},
    {
        "name": "Serve",
        "hosts": "all",
        "gather_facts": False,
        "serial": 1,
        "tasks": [
            {
                "name": "Fail a command",
                "ansible.builtin.command": "sh -c 'echo THE CAUSE >&2; exit 3'",
                "changed_when": False,
                "ignore_errors": True,
            },
            {"name": "Refuse", "ansible.builtin.fail": {"msg": "a sentence\nof two lines"}},
        ],
    },
]


class Run:
    """A folder with a playbook and what runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inventory = {"all": {"hosts": HOSTS, "vars": LOCAL}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        (folder / "play.yml").write_text(yaml.safe_dump(PLAYS))
        program = Path(sys.executable).with_name("ansible-playbook")
        self.command = [sys.executable, str(program), "-i", "hosts.yml", "play.yml"]
        self.environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
            "ANSIBLE_STDOUT_CALLBACK": "tfserving.fleet.progress",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            **CORE,
        }

    def piped(self, *arguments: str) -> str:
        """Return what a pipeline reads."""
        command = [*self.command, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.run(command, cwd=self.folder, env=self.environment, check=False, **pipes).stdout

    def on_terminal(self) -> str:
        """Return what a terminal is sent."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(self.command, cwd=self.folder, env=self.environment, stdout=theirs, stderr=theirs):
            os.close(theirs)
            sent = b""
            while piece := read(ours):
                sent += piece
        os.close(ours)
        return sent.decode()


def read(terminal: int) -> bytes:
    """Return what comes next; nothing once the other side is closed, which Linux calls an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_a_pipeline_reads_plain_lines(run):
    output = run.piped()
    assert "\x1b" not in output
    assert "\r" not in output
    times = re.sub(r"^ +\d+:\d\d  ", "", output, flags=re.MULTILINE).splitlines()
    assert re.fullmatch(r"play\.yml: begun at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", times[0])
    assert times[1:3] == ["1/3  Prepare: h[1:2]", "        changed: Write a file [h[1:2]]"]
    assert "Find nothing to do" not in output
    assert "Skip it" not in output
    assert "RETRYING" not in output
    assert "2/3  Nobody by intention: no hosts" in times
    assert "no hosts matched" not in output
    assert "h2 is small" in output
    assert "\nTABLE\n" in output
    assert "3/3  Serve: h1 (1 of 2 hosts)" in times
    assert output.rindex("PLAY RECAP") > output.rindex("ended")
    assert len(re.findall(r"^h[12] +: ok=\d+ +changed=1 ", output, re.MULTILINE)) == 2


def test_what_goes_wrong_is_shown_whole(run):
    output = run.piped()
    assert "stderr: THE CAUSE" in output or '"stderr": "THE CAUSE"' in output
    assert "...ignoring" in output
    assert "\nfatal: [h1]: FAILED! => a sentence\n    of two lines\n" in output
    # The sentence is all there is to say of it.
    assert output.count("a sentence") == 1


def test_a_refusal_of_the_collection_is_its_sentence_alone(run):
    task = {"name": "Check the variables", "tfserving.fleet.wishes": {}}
    play = {"name": "Check", "hosts": "h1", "gather_facts": False, "vars": {"tfserving_versionn": 7}, "tasks": [task]}
    (run.folder / "play.yml").write_text(yaml.safe_dump([play]))
    output = run.piped()
    assert "\nfatal: [h1]: FAILED! => tfserving_versionn: " in output
    assert "{" not in output


def test_differences_are_shown_in_check_mode(run):
    output = run.piped("--check", "--diff")
    assert "check mode, begun" in output
    assert "\n+new\n" in output
    assert "Write a file\n--- before" in output
    assert "changed: Write a file [h[1:2]]" in output


@pytest.mark.parametrize("how", [["-v"], ["full"]])
def test_ansibles_own_output_comes_on_demand(run, how):
    run.environment |= {"TFSERVING_FLEET_OUTPUT": "full"} if how == ["full"] else {}
    output = run.piped(*(word for word in how if word.startswith("-")))
    assert "TASK [Find nothing to do]" in output
    assert "ok: [h1]" in output
    assert "1/3" not in output


def test_on_a_terminal_the_last_line_gives_way_to_whatever_is_printed(run):
    sent = run.on_terminal()
    assert re.search(r"\r\x1b\[K1/3  Write a file  1 of 2 hosts  since \d\d:\d\d:\d\d", sent)
    # What a worker prints as well: nothing of the live line stands before it.
    shown = [re.split(r"\x1b\[K", line)[-1] for line in sent.replace("\r\n", "\n").split("\n")]
    assert "TABLE" in shown
    assert not [line for line in shown if re.search(r"since .*\S", re.sub(r"since \d\d:\d\d:\d\d", "since", line))]
