# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""template_tree in real playbooks, side by side with ansible.builtin.template."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import REPOSITORY
from template_tree_project import playbook, project

# Each is a way in which two renderings could come to differ.
TEMPLATES = {
    "plain": b"one line\n",
    "empty": b"",
    "no-newline-at-the-end": b"{{ word }} at the end",
    "two-newlines-at-the-end": b"{{ word }}\n\n",
    "blocks": b"{% for n in numbers %}\n  - {{ n }}\n  {% if loop.last %}\nlast\n  {% endif %}\n{% endfor %}\n",
    "overrides": b"#jinja2: trim_blocks: False, lstrip_blocks: True\n{% if true %}\nkept\n    {% endif %}\n",
    "windows": b"a\r\nb {{ word }}\r\n",
    "backslashes": b"{{ 'a\\nb' }} \\n \\\\ {{ path }}\n",
    "unicode": "{{ word }} \u00e4 \u2603 \U0001f600\n".encode(),
    "native-list": b"{{ numbers }}",
    "nothing": b"{{ none }}",
    "nested": b"{{ from_outside.stdout }} {{ composed }}\n",
    "managed": b"# {{ ansible_managed }}\n{{ template_destpath }} {{ template_uid }} {{ template_host }}\n",
    "macro": b"{% macro m(x) -%}\n<{{ x }}>\n{%- endmacro %}\n{{ m(word) }}{# gone #}\n{% raw %}{{ x }}{% endraw %}\n",
    "included": b"{% include 'plain.j2' %}{{ lookup('ansible.builtin.template', 'etc/nested.j2') }}\n",
}
BINARY = bytes(range(256)) * 3 + b"{{ word }}\x00\r\n"

ROLE_TASKS = """
- ansible.builtin.command: "echo '{{ '{{' }} word {{ '}}' }}'"
  register: from_outside
- ansible.builtin.template:
    src: "etc/{{ item }}.j2"
    dest: "{{ out }}/single/etc/{{ item }}"
    mode: "0644"
  loop: "{{ names }}"
- tfserving.fleet.template_tree:
    name: same
    dest: "{{ out }}/same"
    state_path: "{{ out }}/state"
    exclude: [broken/**, opt/**]
- tfserving.fleet.template_tree: &tree
    name: tree
    dest: "{{ out }}/tree"
    state_path: "{{ out }}/state"
    exclude: [broken/**]
    expand: {instance: "{{ instances }}"}
    attributes:
      - {pattern: opt/one/**, mode: "0600", directory_mode: "0700"}
    validate:
      - {pattern: "etc/plain", command: "grep -q line %s"}
  check_mode: true
  diff: true
  register: checked
- ansible.builtin.stat: {path: "{{ out }}/tree"}
  register: after_check
- tfserving.fleet.template_tree: *tree
  register: first
- tfserving.fleet.template_tree: *tree
  register: second
- tfserving.fleet.template_tree: *tree
  vars: {word: "other"}
  diff: true
  no_log: true
  register: hidden
- tfserving.fleet.template_tree: *tree
  vars: {word: "third"}
  diff: false
  register: without_diff
- tfserving.fleet.template_tree: *tree
  vars: {word: "third", instances: [{name: two, port: 8510}]}
  diff: true
  register: shrunk
- tfserving.fleet.template_tree:
    name: tree
    dest: "{{ out }}/tree"
    state_path: "{{ out }}/state"
    expand: {instance: []}
    state: reverted
  register: reverted
- tfserving.fleet.template_tree:
    name: tree
    src: templates/broken/{{ item }}
    dest: "{{ out }}/tree"
    state_path: "{{ out }}/state"
    expand: {instance: "{{ instances }}"}
    validate:
      - {pattern: "**", command: "grep nonsense %s"}
  loop: [undefined, syntax, validator, gone]
  ignore_errors: true
  register: broken
- ansible.builtin.copy:
    dest: "{{ out }}/results.json"
    mode: "0600"
    content: >-
      {{ {'checked': checked, 'after_check': after_check, 'first': first, 'second': second, 'hidden': hidden,
          'without_diff': without_diff, 'shrunk': shrunk, 'reverted': reverted,
          'broken': broken.results} | to_json }}
"""

VARIABLES = {
    "word": "w\u00f6rd",
    "numbers": [1, 2],
    "path": "C:\\new\\table",
    "composed": "{{ word }}-{{ numbers | length }}",
    "instances": [{"name": "one", "port": 8500}, {"name": "two", "port": 8510}],
    "names": sorted(TEMPLATES),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """A playbook that goes through everything; its folder and the registered results."""
    folder = tmp_path_factory.mktemp("playbook")
    out = folder / "out"
    (out / "single" / "etc").mkdir(parents=True)
    templates = {f"etc/{name}.j2": content for name, content in TEMPLATES.items()}
    templates["etc/binary"] = BINARY
    templates["opt/{instance}/port.j2"] = b"{{ instance.name }} {{ instance.port | default(0) }} {{ word }}"
    templates["broken/undefined/a/{instance}.j2"] = b"{{ instance.name }} {{ unheard_of }}"
    templates["broken/syntax/a.j2"] = b"{% if %}"
    templates["broken/validator/etc/plain.j2"] = b"secret"
    project(folder, ROLE_TASKS, {**VARIABLES, "out": str(out)}, templates)
    done = playbook(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, json.loads((out / "results.json").read_text())


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_comes_out_as_ansible_builtin_template_renders_it(run, name):
    out, _results = run
    one, other = out / "single" / "etc" / name, out / "same" / "etc" / name
    assert other.read_bytes() == one.read_bytes().replace(b"/single/", b"/same/")
    assert stat.S_IMODE(other.stat().st_mode) == stat.S_IMODE(one.stat().st_mode)
    assert (other.stat().st_uid, other.stat().st_gid) == (one.stat().st_uid, one.stat().st_gid)


def test_other_files_arrive_byte_by_byte(run):
    assert (run[0] / "same" / "etc" / "binary").read_bytes() == BINARY


def test_check_mode_says_what_the_run_then_does_and_writes_nothing(run):
    _out, results = run
    assert results["after_check"]["stat"]["exists"] is False
    lists = ("changed", "changed_files", "created", "removed", "changed_by", "tree", "recovered")
    assert {key: results["checked"][key] for key in lists} == {key: results["first"][key] for key in lists}


def test_the_result_lists_every_file_and_whose_it_is(run):
    out, results = run
    first = results["first"]
    ports = [f"{out}/tree/opt/{name}/port" for name in ("one", "two")]
    assert (first["changed"], first["tree"], first["recovered"]) == (True, len(TEMPLATES) + 3, False)
    assert first["changed_files"] == first["created"] == sorted(first["created"])
    assert set(ports) < set(first["created"])
    assert first["changed_by"] == {"instance": {"one": ports[:1], "two": ports[1:]}}


def test_a_second_run_changes_nothing(run):
    second = run[1]["second"]
    assert (second["changed"], second["changed_files"], second["changed_by"]) == (False, [], {"instance": {}})


def test_a_diff_has_the_shape_of_ansible_builtin_templates(run):
    out, results = run
    differences = {difference["before_header"]: difference for difference in results["checked"]["diff"]}
    assert differences[f"{out}/tree/etc/plain"] == {
        "before": "",
        "after": "one line\n",
        "before_header": f"{out}/tree/etc/plain",
        "after_header": "etc/plain.j2",
    }
    assert differences[f"{out}/tree/etc/binary"]["src_binary"] == 1


def test_contents_are_in_the_result_only_when_a_diff_is_asked_for_and_allowed(run):
    _out, results = run
    assert results["hidden"]["changed"]
    assert "diff" not in results["hidden"]
    assert "diff" not in results["without_diff"]
    for name, marker in (("first", "w\u00f6rd"), ("hidden", "other"), ("without_diff", "third")):
        assert marker not in json.dumps(results[name], ensure_ascii=False)


def test_an_entry_that_is_gone_is_pruned_and_named(run):
    out, results = run
    removed = [f"{out}/tree/opt/one/port"]
    assert results["shrunk"]["removed"] == removed
    assert results["shrunk"]["changed_by"] == {"instance": {"one": removed}}
    assert results["shrunk"]["diff"][0]["after_header"] == f"{removed[0]} (removed)"


def test_a_revert_brings_the_pruned_entry_back(run):
    out, results = run
    path = out / "tree" / "opt" / "one" / "port"
    assert results["reverted"]["changed_by"] == {"instance": {"one": [str(path)]}}
    assert path.read_text() == "one 8500 third"
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)] == [0o600, 0o700]


def test_errors_are_one_sentence_and_name_the_file(run):
    out, results = run
    templates = f"{out.parent}/roles/app/templates/broken"
    undefined, syntax, refused, gone = results["broken"]
    assert undefined["msg"] == f"{templates}/undefined/a/{{instance}}.j2 (instance one): 'unheard_of' is undefined"
    assert syntax["msg"].startswith(f"{templates}/syntax/a.j2: Syntax error in template: Expected an expression")
    assert refused["msg"] == (
        f"{out}/tree/etc/plain: 'grep nonsense %s' refuses it with status 1: it printed nothing; nothing was changed"
    )
    assert gone["msg"] == "src: there is no directory 'templates/broken/gone'; give one of the role or an absolute path"


ONE_TASK = """
- tfserving.fleet.template_tree:
    name: tree
    dest: "{{ out }}"
    state_path: "{{ out }}-state"
    expand: {instance: "{{ instances }}"}
    validate: "{{ validate | default([]) }}"
"""


def _one_task(folder: Path, instances: int) -> Path:
    variables = {"out": str(folder / "out"), "instances": [{"name": f"i{number}"} for number in range(instances)]}
    return project(folder, ONE_TASK, variables, {"etc/{instance}/secret.j2": b"password {{ instance.name }}\n"})


@pytest.mark.parametrize("pipelining", ["1", "0"])
def test_any_number_of_files_takes_one_module_call(tmp_path, pipelining):
    calls = {}
    for count in (1, 150):
        done = playbook(_one_task(tmp_path / str(count), count), "-vvv", ANSIBLE_PIPELINING=pipelining)
        assert done.returncode == 0, done.stdout + done.stderr
        counted = ("> EXEC ", "> PUT ", "Using module file .*/template_tree.py")
        calls[count] = [len(re.findall(pattern, done.stdout)) for pattern in counted]
        assert len(list((tmp_path / str(count) / "out").rglob("secret"))) == count
    assert calls[1] == calls[150]
    assert calls[1][-1] == 1
    if pipelining == "1":
        assert calls[1] == [1, 0, 1]


def test_check_and_diff_on_the_command_line_show_the_change_and_make_none(tmp_path):
    done = playbook(_one_task(tmp_path, 1), "--check", "--diff")
    assert "changed=1" in done.stdout
    headers = f"--- before: {tmp_path}/out/etc/i0/secret\n+++ after: etc/{{instance}}/secret.j2\n"
    assert headers + "@@ -0,0 +1 @@\n+password i0\n" in done.stdout
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out-state").exists()


def test_nothing_of_the_contents_is_printed_however_talkative_the_run(tmp_path):
    done = playbook(_one_task(tmp_path, 1), "-vvv")
    # From ansible-core 2.21 on, -vvv shows no calls any more.
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in done.stdout or '"module_args"' not in done.stdout
    assert "password i0" not in done.stdout + done.stderr


def test_encrypted_files_are_decrypted_on_the_way(tmp_path):
    from ansible.parsing.vault import VaultLib, VaultSecret

    secret = VaultSecret(b"key")
    closed = {
        path: VaultLib().encrypt(content, secret=secret)
        for path, content in {"etc/a.j2": b"{{ out }}", "etc/b": BINARY}.items()
    }
    project(tmp_path, ONE_TASK, {"out": str(tmp_path / "out"), "instances": []}, closed)
    (tmp_path / "key").write_text("key")
    done = playbook(tmp_path, "--vault-password-file", "key")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "etc" / "a").read_text() == str(tmp_path / "out")
    assert (tmp_path / "out" / "etc" / "b").read_bytes() == BINARY


def test_a_role_without_templates_does_not_take_the_playbooks(tmp_path):
    project(tmp_path, ONE_TASK, {"out": str(tmp_path / "out"), "instances": []}, {})
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "report.j2").write_text("not for the host")
    done = playbook(tmp_path)
    assert f"src: {tmp_path}/roles/app/templates is not a directory; give the directory that holds the" in done.stdout
    assert not (tmp_path / "out").exists()


def test_the_documentation_renders():
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "doc", "-t", "module", "tfserving.fleet.template_tree"],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "changed_by" in done.stdout
