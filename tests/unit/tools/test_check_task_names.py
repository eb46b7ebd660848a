# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The rule for names of tasks, and which names are looked at."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import yaml

CHECK = runpy.run_path(str(Path(__file__).resolve().parents[3] / "tools" / "check_task_names.py"))


@pytest.mark.parametrize(
    "name",
    [
        "Install nftables",
        "Start, restart and stop instances",
        "Read the installed server packages",
        "Create the directory of the releases",
        "Install the server from its apt repository",
        "Configure half-configured packages",
    ],
)
def test_a_verb_and_a_noun_is_a_name(name):
    assert CHECK["problem"](name) == ""


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Install what verifies the repository", "what"),
        ("Read which packages are left", "which"),
        ("Remove releases that are older", "that"),
        ("Load the driver where nouveau is gone", "where"),
        ("Wait until the host has booted", "until"),
        ("Check if the file exists", "if"),
        ("Run it", "it"),
    ],
)
def test_a_clause_or_a_pronoun_is_refused(name, word):
    assert CHECK["problem"](name) == f'name the thing by its noun, without "{word}"'


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("Have what filters by port", "Have"),
        ("Insist on the tool", "Insist"),
        ("The whole job", "The"),
        ("install x", "install"),
    ],
)
def test_another_beginning_than_a_known_verb_is_refused(name, first):
    assert CHECK["problem"](name) == f'begin with a verb of tools/check_task_names.py, not "{first}"'


def test_names_inside_of_plays_and_blocks_are_looked_at_and_no_others():
    plays = """
      - name: Play
        pre_tasks: [{name: Before}]
        tasks:
          - name: Block
            block: [{name: Inner, ansible.builtin.apt: {name: nginx}}]
            rescue: [{name: Rescue}]
            always: [{name: Always}]
          - ansible.builtin.meta: noop
        handlers: [{name: Handler}]
        roles: [{role: web, name: role}]
    """
    found = list(CHECK["names"](yaml.safe_load(plays)))
    assert found == ["Play", "Before", "Block", "Inner", "Rescue", "Always", "Handler"]
    assert list(CHECK["names"]({"name": "a mapping of variables"})) == []
