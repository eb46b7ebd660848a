# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host is planned once, in one task, and a refusal is one message."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action.host_plan import ActionModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils import planner
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import plan as conductor
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes
from planner_cases import KEY, box, instance, model
from playbook_place import Place
from repository import REPOSITORY


def perform(**arguments: Any) -> dict[str, Any]:
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=arguments)
    return action.perform({})


def given(**more: Any) -> dict[str, Any]:
    return {"topology": box(0), "instances": [instance(environment={"A": "1"})], "models": [model()], **more}


def test_it_returns_the_plan_of_the_filter_and_what_that_leaves_out():
    result = perform(**given(key=KEY))
    assert result["plan"] == planner.host_plan(box(0), [instance(environment={"A": "1"})], [model()], {}, KEY)
    no_archive = dict.fromkeys(("local", "brought", "address", "sha256", "binary"), "")
    assert result["secrets"] == {
        "key": KEY,
        "environment": {"ranker": {"A": "1"}},
        "sources": {},
        "archive": no_archive,
    }
    assert result["_ansible_no_log"] is True


def test_wishes_are_read_once_and_the_host_is_planned_once(monkeypatch):
    calls = []

    def counted(place, name):
        function = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given: calls.append(name) or function(*given))

    counted(wishes, "read")
    counted(conductor.machine, "read")
    counted(conductor.instance, "finish")
    perform(**given())
    assert calls == ["read", "read", "finish"]


def test_no_task_plans_beside_the_one_that_is_there_for_it():
    files = [*REPOSITORY.glob("roles/*/*/*.yml"), *REPOSITORY.glob("playbooks/**/*.yml")]
    found = [path.name for path in files for _ in re.findall(r"fleet\.host_plan:|\bhost_plan\(", path.read_text())]
    assert found == ["plan.yml"]


def test_a_task_without_a_topology_is_refused():
    with pytest.raises(WishError) as refused:
        perform(instances=[], models=[])
    assert str(refused.value) == "topology: is missing; give it to the task"


def test_a_refusal_is_the_tasks_message_with_nothing_around_it(tmp_path):
    place = Place(tmp_path)
    place.inventory({"tfserving": {"a": {}}})
    wrong = [{"name": "x", "models": ["nope"]}, {"name": "x", "models": ["ranker"], "gpus": "many"}]
    place.playbook(
        {
            "name": "Plan the host",
            "tfserving.fleet.host_plan": {"topology": box(0), "instances": wrong, "models": [model()]},
        }
    )
    code, output = place.run("play.yml")
    assert code != 0
    (message,) = re.findall(r'"msg": "(.*?)"\}', output)
    lines = message.split(r"\n")
    assert lines[:2] == [
        "tfserving_instances[1].name: repeats 'x', the name of tfserving_instances[0]; give each a name of its own",
        "and 2 more:",
    ]
    assert "filter" not in output
    assert "Traceback" not in output


def planned(folder, content: bytes) -> tuple[int, str]:
    """Plan a host of an inventory beside which golden/ranker.jsonl stands; the playbook is elsewhere."""
    place = Place(folder)
    place.inventory({"tfserving": {"a": {}}})
    (folder / "golden").mkdir()
    (folder / "golden" / "ranker.jsonl").write_bytes(content)
    wished = {**model(), "golden": "golden/ranker.jsonl"}
    arguments = {"topology": box(0), "instances": [instance()], "models": [wished]}
    place.playbook(
        {"name": "Plan the host", "tfserving.fleet.host_plan": arguments, "register": "planned"},
        {"name": "Show the file", "ansible.builtin.debug": {"var": "planned.plan.models[0].golden"}},
    )
    (folder / "play.yml").rename(folder / "elsewhere.yml")
    (folder / "playbooks").mkdir()
    (folder / "elsewhere.yml").rename(folder / "playbooks" / "play.yml")
    return place.run("playbooks/play.yml")


def test_golden_files_are_read_beside_the_inventory(tmp_path):
    line = b'{"name": "{{ lookup(\'env\', \'HOME\') }}", "inputs": {"x": [1]}, "expect": {"y": [NaN]}}\n'
    code, output = planned(tmp_path, line)
    assert code == 0, output
    assert '"total": 1' in output
    # What a file holds is data: it is no template, whatever it looks like.
    assert "lookup('env', 'HOME')" in output
    assert '"NaN"' in output


def test_a_golden_file_with_a_mistake_is_refused_by_line_and_field(tmp_path):
    code, output = planned(tmp_path, b'\n{"inputs": {"x": [1]}, "expect": {"y": [1, "x"]}}\n')
    assert code != 0
    sentence = "golden/ranker.jsonl:2: expect.y[1] is text; the first value of its output is a number"
    assert sentence in output
    assert "Traceback" not in output
