# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filter host_plan, as templates call it and as a fleet of ten thousand hosts feels it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter import host_plan as plugin
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from planner_cases import IMAGE, box, instance, model
from repository import REPOSITORY

host_plan_filter = plugin.FilterModule().filters()["host_plan"]


def test_the_filter_gives_the_plan():
    assert host_plan_filter(box(0), [], [model()], {}) == host_plan(box(0), [], [model()], {})


def test_refusals_are_errors_of_the_filter_and_name_the_variable():
    with pytest.raises(
        AnsibleFilterError, match=r"tfserving_models\[0\].verion: is not a key of a model; did you mean"
    ):
        host_plan_filter(box(0), [], [model(verion=1)])


PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    release: 9
    models: [{name: ranker, version: "{{ release }}", source: {type: path, uri: "/srv/{version}"}}]
    instances: [{name: ranker, models: ["{{ models[0].name }}"], gpus: "{{ hardware.gpus | length }}"}]
  tasks:
    - ansible.builtin.copy:
        content: "{{ hardware | tfserving.fleet.host_plan(instances, models, policy) | to_json }}"
        dest: "{{ playbook_dir }}/plan.json"
        mode: "0600"
"""


def test_wishes_that_are_templates_themselves_can_be_planned(tmp_path):
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hardware.json").write_text(json.dumps({"hardware": box(2), "policy": IMAGE}))
    play = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", "@hardware.json", "play.yml"]
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    run = [sys.executable, str(Path(sys.executable).with_name(play[0])), *play[1:]]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["models"][0]["versions"] == [9]
    assert plan["instances"][0]["gpus"] == ["GPU-0000", "GPU-0001"]


def test_ten_thousand_hosts_are_planned_in_seconds():
    wishes = [instance(f"i{number}", [f"m{number}"], gpus=1) for number in range(8)]
    models = [model(f"m{number}", memory_mb=4000) for number in range(8)]
    machine = box()
    host_plan(machine, wishes, models, IMAGE)  # reads the tables
    before = time.process_time()
    for _ in range(100):
        host_plan(machine, wishes, models, IMAGE)
    # About 1 ms for each host of 128 CPUs, 8 GPUs and 8 instances; the bound leaves room for slow machines and still
    # catches whatever grows faster than the machine does.
    assert (time.process_time() - before) / 100 < 0.008
