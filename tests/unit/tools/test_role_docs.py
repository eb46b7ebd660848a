# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The examples of the roles: Ansible takes them, and a poor one is refused."""

from __future__ import annotations

import runpy

import pytest
import yaml
from repository import REPOSITORY
from running import run_playbook

DOCS = runpy.run_path(str(REPOSITORY / "tools" / "role_docs.py"))
ROLES = sorted(path.parents[1] for path in REPOSITORY.glob("roles/*/meta/argument_specs.yml"))

SPECS = {"main": {"options": {"tfserving_plan": {"required": True}, "depth": {"default": 1}}}}
PLAY = "- {name: Dig, hosts: all, roles: [%s]}\n"
PLAN = "{role: tfserving.fleet.host_plan}, "


def problems(folder, readme):
    """Return what is said of a role "hole" with this README."""
    role = folder / "hole"
    (role / "meta").mkdir(parents=True, exist_ok=True)
    (role / "meta/argument_specs.yml").write_text(yaml.safe_dump({"argument_specs": SPECS}))
    (role / "README.md").write_text(readme)
    return DOCS["problems"](role)


def block(text):
    return f"# hole\n\n```yaml\n{text}```\n"


def test_ansible_takes_the_example_of_every_role(tmp_path):
    for role in ROLES:
        example = DOCS["BLOCK"].findall((role / "README.md").read_text())[-1]
        (tmp_path / f"{role.name}.yml").write_text(example)
    done = run_playbook(tmp_path, "--syntax-check", *(f"{role.name}.yml" for role in ROLES))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("playbook: ") == len(ROLES) == 13


def test_an_example_that_has_all_that_is_required_is_taken(tmp_path):
    assert problems(tmp_path, block(PLAY % (PLAN + "{role: tfserving.fleet.hole, vars: {depth: 2}}"))) == []


@pytest.mark.parametrize(
    ("readme", "problem"),
    [
        ("# hole\n", "README.md has no example"),
        (block("- hosts: a: b\n"), "README.md has a block that is no YAML (mapping values are not allowed here"),
        (block("hosts: all\n"), "the example is no list of plays with a name and hosts"),
        (block("- {hosts: all}\n"), "the example is no list of plays with a name and hosts"),
        (block(PLAY % "{role: hole}"), "the example does not run tfserving.fleet.hole"),
        (block(PLAY % "{role: tfserving.fleet.hole}"), "the example lacks tfserving_plan, which is required"),
        (
            block(PLAY % (PLAN + "{role: tfserving.fleet.hole, vars: {width: 1}}")),
            "the example sets width, which the role does not know",
        ),
    ],
)
def test_a_poor_example_is_refused(tmp_path, readme, problem):
    (found,) = problems(tmp_path, readme)
    assert found.startswith(f"hole: {problem}")
