# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables of the wrong kind end in one sentence: ansible-core's own check would print every option of every role."""

from __future__ import annotations

import json

import playbook_place
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles
from refusing import refusal

# Of each host: the task, its place in the file, the sentence, and the play's end; 211 lines and more it used to be.
MOST_LINES = 20


@pytest.fixture
def place(tmp_path):
    return playbook_place.Place(tmp_path)


WRONG = {
    "tfserving_models": ("ranker", "is a string; give a list of mappings, each an entry with '- '"),
    "tfserving_instances": ({"name": "a"}, "is a mapping; give a list of mappings"),
    "host_plan_policy": (5, "is a number; give a mapping of names to values"),
    "tfserving_allow_from": (None, "is nothing; give it a value, or remove it and its default holds"),
    "tfserving_open_files": ("many", "is a string; give a whole number in plain decimal digits"),
}


@pytest.mark.parametrize("playbook", ["site", "plan"])
def test_wrong_kinds_are_refused_in_a_few_lines_each(place, playbook):
    hosts = {f"gpu-{name}": {**playbook_place.DEAD, name: value} for name, (value, _sentence) in WRONG.items()}
    place.inventory({"tfserving": hosts})
    process = place.start(f"tfserving.fleet.{playbook}")
    output, _none = process.communicate()
    assert process.returncode == 2
    told = " ".join(output.split()).replace("''", "'")
    assert [name for name, (_value, sentence) in WRONG.items() if f"{name}: {sentence}" not in told] == []
    assert "Validation of arguments failed" not in output
    assert len(output.splitlines()) <= MOST_LINES * len(WRONG)


@pytest.mark.parametrize(
    ("playbook", "variables", "sentence"),
    [
        ("bundle", {"bundle_dir": ["a"]}, "bundle_dir: is a list; give a text"),
        ("bundle", {"bundle_dir": "/b", "bundle_builder": "nope"}, "bundle_builder: names no host of the inventory"),
        ("bundle", {"bundle_dir": "/b", "bundle_packages": "x"}, "bundle_packages: is a string; give a list"),
        ("certificates", {"certificates_days": "x"}, "certificates_days: is a string; give a whole number"),
    ],
)
def test_a_playbooks_own_variables_are_refused_likewise(place, playbook, variables, sentence):
    place.inventory({"tfserving": {"gpu-1": playbook_place.DEAD}})
    status, output = place.run(f"tfserving.fleet.{playbook}", "-e", json.dumps(variables))
    assert status == 2
    assert sentence in output.replace("''", "'")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (["a"], "is a list; give a text"),
        (None, "is nothing; give an absolute path"),
        ("bundle", "is the string 'bundle'; give an absolute path"),
    ],
)
def test_the_place_of_a_bundle_is_an_absolute_path(value, sentence):
    assert refusal(roles.check, {"bundle_dir": value}, {"bundle_dir": {"type": "path"}}) == f"bundle_dir: {sentence}"


def test_a_list_is_no_count_of_days():
    days = {"certificates_renew_days": {"type": "int"}}
    sentence = "certificates_renew_days: is a list; give a whole number in plain decimal digits"
    assert refusal(roles.check, {"certificates_renew_days": [1]}, days) == sentence
