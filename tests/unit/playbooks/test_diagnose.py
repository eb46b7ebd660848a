# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How diagnose.yml ends: with the code of its diagnosis, whatever Ansible's own would be."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import keep
from evidence_cases import healthy, put
from playbook_place import DEAD, Place
from repository import REPOSITORY
from running import playbook_command, playbook_environment

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


def test_run_from_its_own_folder_it_ends_the_same(place):
    keep.write(str(place.folder / "kept"), put(healthy(), "facts/clocksource/current", "hpet"))
    inventory, kept = str(place.folder / "hosts.yml"), f"diagnosis_from={place.folder / 'kept'}"
    command = playbook_command("-i", inventory, "diagnose.yml", "-e", kept)
    environment = playbook_environment(place.folder)
    ended = subprocess.run(command, cwd=REPOSITORY / "playbooks", env=environment, capture_output=True, check=False)
    assert (ended.returncode, b"1. CAUSE: The fast clock is lost" in ended.stdout) == (1, True)


def test_a_run_that_diagnosed_nobody_is_2(place):
    code, output = place.run(PLAYBOOK, "--tags", "none-has-it")
    assert (code, "fatal" in output) == (2, False)


def test_a_limit_that_matches_no_host_is_2_and_one_sentence(place):
    code, output = place.run(PLAYBOOK, "--limit", "a2")
    assert code == 2
    assert "--limit leaves us with no hosts to target" in output
    assert not list((place.folder / ".ansible").rglob("ansible-local-*"))


def test_a_limit_that_matches_no_host_of_the_fleet_is_2_and_one_sentence(place):
    place.inventory({"tfserving": {"a1": {}}, "others": {"c1": {}}})
    code, output = place.run(PLAYBOOK, "--limit", "c1")
    assert code == 2
    assert "--limit: leaves none of the fleet's hosts ('tfserving'); they are a1" in output


def test_an_inventory_that_cannot_be_read_is_2(place):
    (place.folder / "hosts.yml").write_text("tfserving: {hosts: {a1: {}")
    code, output = place.run(PLAYBOOK)
    assert code == 2
    assert "Unable to parse" in output
    assert "fleet_hosts: no host of the inventory matches 'tfserving'; the inventory has no group with hosts" in output


@pytest.mark.parametrize("asking", ["--list-hosts", "--list-tasks", "--syntax-check"])
def test_a_question_about_the_playbook_is_no_failed_diagnosis(place, asking):
    assert place.run(PLAYBOOK, asking)[0] == 0


def test_the_limits_of_other_playbooks_are_left_alone(place):
    assert place.run(str(REPOSITORY / "playbooks" / "status.yml"), "--limit", "a2")[0] == 1


def test_the_codes_of_other_playbooks_are_left_alone(place):
    place.playbook({"name": "Fail", "ansible.builtin.fail": {"msg": "as meant"}})
    assert place.run("play.yml")[0] == 2


def test_hosts_without_a_plan_and_unreachable_ones_have_lines_and_stop_nothing(tmp_path):
    place = Place(tmp_path)
    place.inventory({"tfserving": {"a1": {}, "b1": {}, "dead": DEAD}})
    # Of an earlier run, when it was still there: it says nothing of now.
    keep.write(str(tmp_path / "out"), healthy(host="dead"))
    settings = ("probe=false", "diagnosis_seconds=1", f"diagnosis_folder={tmp_path / 'out'}")
    code, output = place.run(PLAYBOOK, *(word for each in settings for word in ("-e", each)))
    assert code in (0, 1)
    assert "Without dead: it does not answer, see above" in output
    for host in ("a1", "b1"):
        assert f"- {host} has no plan in force, so nothing of the fleet serves there; run site.yml" in output
    assert sorted(keep.read(str(tmp_path / "out"))) == ["a1", "b1", "dead"]


def test_a_host_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    place = Place(tmp_path)
    place.inventory({"tfserving": {"a1": {"diagnosis_seconds": 1}, "b1": {"diagnosis_seconds": 61}}})
    settings = ("probe=false", f"diagnosis_folder={tmp_path / 'out'}")
    _code, output = place.run(PLAYBOOK, *(word for each in settings for word in ("-e", each)))
    assert "Without b1: seconds: 61 is out of bounds; write 1 to 60" in output
    assert "a1 has no plan in force" in output


def test_a_load_host_that_does_not_answer_stops_nothing(tmp_path):
    place = Place(tmp_path)
    place.inventory({"tfserving": {"a1": {"diagnosis_seconds": 1}}, "tfserving_load": {"load-1": DEAD}})
    code, output = place.run(PLAYBOOK, "-e", f"diagnosis_folder={tmp_path / 'out'}")
    assert code in (0, 1)
    assert "a1 has no plan in force" in output
