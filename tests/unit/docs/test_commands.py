# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command of Ansible on a page: its program, playbook, options and variables exist."""

from __future__ import annotations

import re
import shlex

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory
from documented_commands import of_page, problem
from repository import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FOUND = [pytest.param(words, id=f"{page.name}: {shlex.join(words)}"[:100]) for page in PAGES for words in of_page(page)]


@pytest.mark.parametrize("words", FOUND)
def test_a_command_on_a_page_is_one_that_ansible_takes(words):
    assert problem(words) == ""


def test_pages_have_commands():
    assert len(FOUND) >= 20


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("ansible-playbook -i inventory tfserving.fleet.siet", "no playbook tfserving.fleet.siet"),
        ("ansible-playbook playbooks/gone.yml", "no playbook playbooks/gone.yml"),
        ("ansible-playbook site.yml -e fleet_serail=1", "no variable fleet_serail"),
        ("ansible-playbook playbooks/benchmark.yml -e instanse=ranker", "no variable instanse"),
        ("ansible-playbook site.yml -e instance=ranker", "no variable instance"),
        ("ansible-playbook site.yml --nothing", "unrecognized arguments: --nothing"),
        ("ansible-galaxy collection instal x", "invalid choice: 'instal'"),
    ],
)
def test_one_that_it_would_refuse_is_found(command, why):
    assert why in problem(shlex.split(command))


def test_no_role_is_given_a_switch_in_a_form_that_it_refuses():
    """What ``-e name=true`` gives is a text, and a role takes true alone."""
    switches = {name for name, option in inventory.role_options().items() if option.get("type") == "bool"}
    assert "fleet_allow_outage" in switches
    sources = [*PAGES, *(REPOSITORY / "plugins").rglob("*.py"), *(REPOSITORY / "roles").rglob("*.yml")]
    for path in sources:
        advised = re.findall(r"-e '?([a-z_]+)=(?:true|false|yes|no)\b", path.read_text(encoding="utf-8"))
        assert not switches & set(advised), path
