# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filter host_plan, as templates call it and as a fleet of ten thousand hosts feels it."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter import host_plan as plugin
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from planner_cases import IMAGE, box, model
from running import run_playbook

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
    done = run_playbook(tmp_path, "-i", "localhost,", "-c", "local", "-e", "@hardware.json", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["models"][0]["versions"] == [9]
    assert plan["instances"][0]["gpus"] == ["GPU-0000", "GPU-0001"]
