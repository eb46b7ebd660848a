# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How diagnose.yml ends: with the code of its diagnosis, whatever Ansible's own would be."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import keep
from evidence_cases import healthy, put
from playbook_place import Place
from repository import REPOSITORY

PLAYBOOK = str(REPOSITORY / "playbooks" / "diagnose.yml")


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.inventory({"tfserving": {"a1": {}}})
    return made


def diagnosed(place, evidence):
    """Return the exit status and the output of a diagnosis of kept evidence."""
    for each in evidence:
        keep.write(str(place.folder / "kept"), each)
    return place.run(PLAYBOOK, "-e", f"diagnosis_from={place.folder / 'kept'}")


def test_nothing_found_is_0(place):
    code, output = diagnosed(place, [healthy()])
    assert (code, "Nothing found on 1 host." in output) == (0, True)


def test_findings_are_1(place):
    code, output = diagnosed(place, [put(healthy(), "facts/clocksource/current", "hpet")])
    assert code == 1
    assert "1. CAUSE: The fast clock is lost" in output


def test_no_evidence_is_2_and_one_sentence(place):
    code, output = diagnosed(place, [])
    assert code == 2
    assert "cannot be read (No such file or directory); give the folder of an earlier diagnosis" in output


def test_the_codes_of_other_playbooks_are_left_alone(place):
    place.playbook({"name": "Fail", "ansible.builtin.fail": {"msg": "as meant"}})
    assert place.run("play.yml")[0] == 2
