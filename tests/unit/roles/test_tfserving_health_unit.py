# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the health unit does at its end, and what its drop-in asks the program to watch."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import unit_cases

SYSTEM = unit_cases.ROLES / "tfserving/templates/host/etc/systemd/system"


def rendered(template, **variables):
    """Render as the role does."""
    return unit_cases.rendered(SYSTEM / template, **variables)


def directive(unit, name):
    """Return the words of a unit's last ``name=`` line, as systemd reads them."""
    line = re.findall(rf"^{name}=(.*)$", unit.replace("\\\n", " "), re.MULTILINE)[-1]
    return [word.replace("$$", "$").replace("%i", "ranker") for word in shlex.split(line)]


@pytest.fixture
def ending(tmp_path):
    """Runs what the unit does after its end; returns what systemctl is told to do."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    systemctl.chmod(0o755)

    def run(result, status):
        words = directive(rendered("tfserving-health@.service.j2"), "ExecStopPost")
        environment = {"PATH": str(tmp_path), "SERVICE_RESULT": result, "EXIT_STATUS": status}
        subprocess.run([words[0].removeprefix("!"), *words[1:]], env=environment, check=True)
        told = tmp_path / "told"
        return told.read_text() if told.exists() else ""

    return run


def test_a_server_that_was_given_up_is_restarted(ending):
    assert ending("exit-code", "1") == "--no-block --job-mode=fail try-restart tfserving@ranker.service\n"


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ("success", "0"),
        ("success", "TERM"),
        ("watchdog", "ABRT"),
        ("signal", "KILL"),
        ("core-dump", "SEGV"),
        ("exit-code", "2"),
        ("exit-code", "203"),
        ("protocol", "0"),
        ("oom-kill", "KILL"),
        ("timeout", "KILL"),
        ("resources", ""),
    ],
)
def test_a_server_is_left_alone_at_a_stop_and_when_the_fault_is_not_its_own(ending, result, status):
    assert ending(result, status) == ""


def test_the_drop_in_names_the_port_and_the_models_of_the_plan():
    instance = {"name": "ranker", "models": ["digits", "ranker"], "ports": {"rest": 8511}}
    text = rendered("tfserving-health@{instance}.service.d/10-plan.conf.j2", instance=instance)
    words = directive(text, "ExecStart")
    assert directive(text, "User") == ["tfhealth-ranker"]
    assert words[0] == "/usr/bin/python3"
    assert words[-3:] == [
        "/usr/local/lib/tfserving-fleet/tfserving-health",
        "--rest-port=8511",
        "--models=digits,ranker",
    ]


def test_a_process_that_asks_for_other_models_than_the_plan_can_be_told_by_its_mark():
    marks = set()
    for models, port in ((["a"], 1), (["a", "b"], 1), (["a"], 2)):
        instance = {"name": "ranker", "models": models, "ports": {"rest": port}}
        text = rendered("tfserving-health@{instance}.service.d/10-plan.conf.j2", instance=instance)
        marks.add(directive(text, "Environment")[0])
    assert len(marks) == 3
    assert all(re.fullmatch(r"TFSERVING_CONFIGURATION=[0-9a-f]{12}", mark) for mark in marks)
