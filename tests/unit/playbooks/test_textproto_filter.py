# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filters work inside Ansible: their templates, their errors and their documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.textproto import FilterModule
from repository import REPOSITORY

FILTERS = ("server_flags", "textproto", "systemd_quote", "environment_line")
BIN = Path(sys.executable).parent


def test_the_filter_writes_a_file():
    textproto = FilterModule().filters()["textproto"]
    assert textproto({"max_batch_size": 8}, "BatchingParameters").endswith("\nmax_batch_size { value: 8 }\n")


def test_the_filter_speaks_in_one_sentence():
    textproto = FilterModule().filters()["textproto"]
    with pytest.raises(AnsibleFilterError, match=r"^batching\.max_batch_size: 0 is below 1, and a batch must hold a"):
        textproto({"max_batch_size": 0}, "BatchingParameters", path="batching")


def ansible(command: str, *options: str) -> str:
    """Run a command of Ansible in the clone and return what it prints."""
    words = [str(BIN / command), *options]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PLAYBOOK = """
- name: Use each filter on values that are themselves templates
  hosts: localhost
  gather_facts: false
  vars:
    grpc: 8500
    flags: {port: "{{ grpc }}", rest_api_port: "{{ grpc + 1 }}", model_config_file: "/etc/{{ inventory_hostname }}"}
    batching: {max_batch_size: "{{ 8 * 4 }}", allowed_batch_sizes: [8, "{{ 16 * 2 }}"]}
  tasks:
    - name: Render
      ansible.builtin.copy:
        dest: OUTPUT
        mode: "0600"
        content: >-
          {{ {'flags': flags | tfserving.fleet.server_flags('2.19.1'),
              'batching': batching | tfserving.fleet.textproto('BatchingParameters'),
              'word': 'a b' | tfserving.fleet.systemd_quote,
              'line': 'A' | tfserving.fleet.environment_line(grpc)} | to_json }}
"""


def test_ansible_finds_the_filters_and_hands_them_rendered_values(tmp_path):
    playbook, output = tmp_path / "play.yml", tmp_path / "out.json"
    playbook.write_text(PLAYBOOK.replace("OUTPUT", str(output)))
    interpreter = f"ansible_python_interpreter={sys.executable}"
    ansible("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", interpreter, str(playbook))
    assert json.loads(output.read_text()) == {
        "flags": ["--port=8500", "--rest_api_port=8501", "--model_config_file=/etc/localhost"],
        "batching": "# BatchingParameters of TensorFlow Serving, written by tfserving.fleet.\n"
        "max_batch_size { value: 32 }\nallowed_batch_sizes: 8\nallowed_batch_sizes: 32\n",
        "word": '"a b"',
        "line": 'A="8500"',
    }


def test_ansible_doc_shows_every_filter():
    names = [f"tfserving.fleet.{name}" for name in FILTERS]
    documents = json.loads(ansible("ansible-doc", "-t", "filter", "--json", *names))
    for name, filter_name in zip(names, FILTERS):
        assert documents[name]["doc"]["name"] == filter_name
        assert documents[name]["examples"]
        assert documents[name]["return"]["_value"]["description"]
