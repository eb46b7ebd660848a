# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Secret files of template_tree in a real playbook: whatever a run prints or registers, the secrets are not in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from template_tree_project import playbook, project

OLD, NEW = "hunter2", "swordfish9"
HIDDEN = "(content hidden: it is secret)\n"
CHANGED = "(content hidden: it is secret, and changed)\n"

TEMPLATES = {
    "tree/etc/{instance}/environment.j2": b"{{ instance.name }} {{ instance.password }}\n",
    "tree/etc/static": OLD.encode(),
    "broken/undefined/secret.j2": b"{{ instances }} {{ unheard_of }}\n",
    "broken/attribute/secret.j2": b"\n{{ instances[0].pasword }}\n",
    "broken/key/secret.j2": b"\n{{ {}[instances[0].password] }}\n",
    "broken/filter/secret.j2": b"{{ instances[0].password | from_json }}\n",
    "broken/own/secret.j2": b"{{ 'NAME' | tfserving.fleet.environment_line('a\\n' ~ instances[0].password) }}\n",
    "broken/python/secret.j2": b"{{ {}.fromkeys([1]).update(instances[0].password) }}\n",
    "broken/mandatory/secret.j2": b"{{ undef(hint=instances[0].password) }}\n",
    "broken/nested/secret.j2": b"{{ nested }}\n",
    "broken/syntax/secret.j2": b"\nhunter2 {{ hunter2 hunter2 }}\n",
    "broken/unicode/secret.j2": b"{{ instances[0].password }}{{ lone }}\n",
    "broken/validator/secret.j2": b"{{ instances[0].password }}\n",
    "broken/encoding/secret.j2": b"hunter2 \xff\n",
}
BROKEN = sorted({path.split("/")[1] for path in TEMPLATES if path.startswith("broken/")})

TASKS = """
- tfserving.fleet.template_tree: &tree
    name: tree
    src: tree
    dest: "{{ out }}"
    state_path: "{{ out }}-state"
    expand: {instance: "{{ instances }}"}
    attributes:
      - {pattern: etc/*/environment, mode: "0600", secret: true}
      - {pattern: etc/static, secret: "{{ true }}"}
  check_mode: true
  register: checked
- tfserving.fleet.template_tree: *tree
  register: created
- tfserving.fleet.template_tree: *tree
  vars: {instances: "{{ others }}"}
  register: changed
- tfserving.fleet.template_tree:
    name: tree
    src: tree
    dest: "{{ out }}"
    state_path: "{{ out }}-state"
    expand: {instance: "{{ [] }}"}
    attributes:
      - {pattern: etc/static, secret: true}
  register: pruned
- tfserving.fleet.template_tree: &revert
    name: tree
    src: tree
    dest: "{{ out }}"
    state_path: "{{ out }}-state"
    state: reverted
  check_mode: true
  register: revert_checked
- tfserving.fleet.template_tree: *revert
  register: reverted
- tfserving.fleet.template_tree:
    name: tree
    dest: "{{ out }}"
    state_path: "{{ out }}-state"
    state: absent
  register: removed
- tfserving.fleet.template_tree:
    name: broken
    src: "broken/{{ item }}"
    dest: "{{ out }}"
    state_path: "{{ out }}-state"
    attributes:
      - {pattern: secret, secret: true}
    validate:
      - {pattern: secret, command: "sh -c 'cat %s; exit 3'"}
  loop: "{{ broken }}"
  ignore_errors: true
  register: failed
- tfserving.fleet.template_tree:
    name: tree
    dest: "{{ out }}"
    attributes:
      - {pattern: a}
      - {pattern: b, secret: perhaps}
  ignore_errors: true
  register: refused
- ansible.builtin.copy:
    dest: "{{ out }}.json"
    mode: "0600"
    content: >-
      {{ {'checked': checked, 'created': created, 'changed': changed, 'pruned': pruned, 'reverted': reverted,
          'revert_checked': revert_checked, 'removed': removed, 'failed': failed.results,
          'refused': refused} | to_json }}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict[str, Any], str]:
    """One playbook with a diff, as talkative as can be: its folder, the registered results, all it printed."""
    folder = tmp_path_factory.mktemp("playbook")
    variables = {
        "out": str(folder / "out"),
        "broken": BROKEN,
        "instances": [{"name": "one", "password": OLD}, {"name": "two", "password": "{{ none }}"}],
        "others": [{"name": "one", "password": NEW}],
        "nested": "{{ instances[0].password | from_json }}",
        "lone": "{{ '\\udcff' }}",
    }
    role = project(folder, TASKS, variables, TEMPLATES)
    done = playbook(role, "--diff", "-vvvv", ANSIBLE_DISPLAY_TRACEBACK="always")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, json.loads((folder / "out.json").read_text()), done.stdout + done.stderr


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_no_secret_is_in_anything_that_a_run_prints_or_registers(run, secret):
    _folder, results, printed = run
    assert "etc/one/environment" in printed
    assert secret not in printed
    assert secret not in json.dumps(results)


def _contents(run, name: str) -> dict[str, tuple[str, str]]:
    folder, results, _printed = run
    return {
        difference["before_header"].replace(f"{folder}/out/", ""): (difference["before"], difference["after"])
        for difference in results[name]["diff"]
        if isinstance(difference["before"], str)
    }


def test_each_diff_says_what_became_of_a_secret_file(run):
    one, two, static = "etc/one/environment", "etc/two/environment", "etc/static"
    new, gone = ("", HIDDEN), (HIDDEN, "")
    assert _contents(run, "checked") == _contents(run, "created") == {one: new, two: new, static: new}
    assert _contents(run, "changed") == {one: (HIDDEN, CHANGED), two: gone}
    assert _contents(run, "pruned") == {one: gone}
    assert _contents(run, "revert_checked") == _contents(run, "reverted") == {one: new}
    assert _contents(run, "removed") == {one: gone, static: gone}


def test_the_printed_diff_shows_the_change(run):
    printed = run[2]
    assert "-(content hidden: it is secret)\n+(content hidden: it is secret, and changed)\n" in printed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("undefined", "'unheard_of' is undefined"),
        ("attribute", "object of type 'dict' has no attribute 'pasword'"),
        ("key", "cannot be rendered (AnsibleUndefinedVariable) and is secret, so no more is said; "),
        ("filter", "cannot be rendered (AnsibleTemplatePluginRuntimeError) and is secret, so no more is said; "),
        ("own", "cannot be rendered (because of environment.NAME) and is secret, so no more is said; "),
        ("syntax", "cannot be rendered (syntax error in line 2) and is secret, so no more is said; "),
    ],
)
def test_a_failed_rendering_says_as_much_as_repeats_no_value(run, name, said):
    folder, results, _printed = run
    message = results["failed"][BROKEN.index(name)]["msg"]
    rest = "try the template with harmless values and without 'secret'" if said.endswith("; ") else ""
    assert message == f"{folder}/roles/app/templates/broken/{name}/secret.j2: {said}{rest}"


def test_every_broken_template_fails_and_writes_nothing(run):
    folder, results, _printed = run
    assert [result["failed"] for result in results["failed"]] == [True] * len(BROKEN)
    assert not (folder / "out" / "secret").exists()


def test_a_value_that_is_no_boolean_is_refused_by_its_place(run):
    message = "attributes[1].secret: the string 'perhaps' is not a boolean; write true or false"
    assert run[1]["refused"]["msg"] == message
