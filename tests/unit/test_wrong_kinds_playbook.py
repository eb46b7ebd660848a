# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables of the wrong kind end in one sentence: ansible-core's own check would print every option of every role."""

from __future__ import annotations

import json

import playbook_place
import pytest

# The task, its place in the file, the sentence, and the play's end; 211 lines and more is what it used to be.
SCREEN = 60


@pytest.fixture
def place(tmp_path):
    return playbook_place.Place(tmp_path)


@pytest.mark.parametrize("playbook", ["site", "plan"])
@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "tfserving_models",
            "ranker",
            "tfserving_models: is a string; give a list of mappings, each an entry with '- '",
        ),
        ("tfserving_instances", {"name": "a"}, "tfserving_instances: is a mapping; give a list of mappings"),
        ("host_plan_policy", 5, "host_plan_policy: is a number; give a mapping of names to values"),
        (
            "tfserving_open_files",
            "many",
            "tfserving_open_files: is a string; give a whole number in plain decimal digits",
        ),
    ],
)
def test_a_wrong_kind_is_refused_on_one_screen(place, playbook, variable, value, sentence):
    place.inventory({"tfserving": {"gpu-1": playbook_place.DEAD}})
    process = place.start(f"tfserving.fleet.{playbook}", "-e", json.dumps({variable: value}))
    output, _none = process.communicate(timeout=300)
    assert process.returncode == 2
    assert sentence.replace("'", "''") in " ".join(output.split()) or sentence in " ".join(output.split())
    assert "Validation of arguments failed" not in output
    assert len(output.splitlines()) <= SCREEN


@pytest.mark.parametrize(
    ("playbook", "variables", "sentence"),
    [
        ("bundle", {"bundle_dir": ["a"]}, "bundle_dir: is a list; give a text"),
        ("bundle", {}, "bundle_dir: is nothing; give an absolute path"),
        ("bundle", {"bundle_dir": "bundle"}, "bundle_dir: is the string 'bundle'; give an absolute path"),
        ("bundle", {"bundle_dir": "/b", "bundle_builder": "nope"}, "bundle_builder: names no host of the inventory"),
        ("bundle", {"bundle_dir": "/b", "bundle_packages": "x"}, "bundle_packages: is a string; give a list"),
        ("certificates", {"certificates_dir": ["a"]}, "certificates_dir: is a list; give a text"),
        ("certificates", {"certificates_days": "x"}, "certificates_days: is a string; give a whole number"),
        ("certificates", {"certificates_renew_days": [1]}, "certificates_renew_days: is a list; give a whole number"),
    ],
)
def test_a_playbooks_own_variables_are_refused_likewise(place, playbook, variables, sentence):
    place.inventory({"tfserving": {"gpu-1": playbook_place.DEAD}})
    status, output = place.run(f"tfserving.fleet.{playbook}", "-e", json.dumps(variables))
    assert status == 2
    assert sentence in output.replace("''", "'")
    assert "Traceback" not in output
