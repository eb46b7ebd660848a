# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The way back on a host: files in one step, the version from before alone, and what is left to the roles."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import reload, way_back
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.versions_text import Move
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.state import Store
from returning_host import ReturningHost

MOVE = Move(7, 8)


@pytest.fixture
def hurried(monkeypatch):
    """Return the configurations that a server was asked to take in."""
    found = []
    monkeypatch.setattr(reload, "asked", lambda port, config: found.append((port, config)))
    return found


@pytest.fixture
def host(tmp_path, monkeypatch, hurried):
    monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_arguments: "")
    with ReturningHost(tmp_path, canary=8) as made:
        yield made


def test_the_version_before_answers_alone_and_the_files_are_those_of_the_role(host, hurried):
    found, changed = host.back()
    assert found == [{"name": "main", "answers": True, "words": "", "states": {"7": "AVAILABLE", "8": "END"}}]
    assert changed
    assert host.present() == host.wanted(7)
    # Taken in by the file already: the server need not be asked.
    assert hurried == []


def test_a_version_that_is_served_beside_the_two_goes_on_answering_with_its_label(host):
    (host.root / "models/ranker/6").mkdir()
    host.labels = {"stable": 6, "canary": 8}
    host.write(6, 8)
    found, changed = host.back()
    assert (found[0]["answers"], changed) == (True, True)
    assert found[0]["states"] == {"6": "AVAILABLE", "7": "AVAILABLE", "8": "END"}
    assert host.present() == host.wanted(6, 7)
    assert '"stable": 6' in host.present()["main/instance.json"]


def test_twice_in_a_row_changes_nothing(host):
    host.back()
    found, changed = host.back()
    assert (found[0]["answers"], changed) == (True, False)


def test_a_server_that_has_not_looked_at_its_file_yet_is_asked_to(host, hurried):
    host.model.states = {8: "AVAILABLE"}
    found, _changed = host.back()
    assert found[0]["answers"] is False
    assert "model ranker version 8 is still AVAILABLE after 0 s" in found[0]["words"]
    assert hurried == [(2, json.loads(host.present()["main/instance.json"])["instance"]["model_config"])]


def test_files_that_a_killed_call_has_written_are_taken_in_by_the_next(host, hurried):
    host.write(7)
    host.model.states = {8: "AVAILABLE"}
    host.back()
    assert len(hurried) == 1


def test_a_call_that_was_killed_between_two_files_is_taken_back_and_done_again(host, monkeypatch):
    advance = Store.advance

    def killed(self, phase, following):
        if following == "committed.json":
            # As a kill does it: nothing clears up.
            os._exit(9)
        advance(self, phase, following)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Store, "advance", killed)
        host.back()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found, changed = host.back()
    assert (found[0]["answers"], changed) == (True, True)
    assert host.present() == host.wanted(7)


def test_nothing_remembers_the_files_with_the_bad_version(host):
    host.back()
    tree = way_back.WayBack(host.unit.run, "ranker", MOVE, host.place).tree
    assert not tree.unproven()
    assert tree.manifest()["revertable"] is False


def test_check_mode_says_what_would_be_changed(host):
    before = host.present()
    found, changed = host.back(check_mode=True)
    assert changed
    assert (found[0]["answers"], found[0]["words"]) == (False, "nothing is changed in check mode")
    assert host.present() == before


def test_a_version_that_is_gone_from_the_disk_is_left_to_the_roles(host):
    before = host.present()
    (host.root / "models/ranker/7").rmdir()
    found, changed = host.back()
    assert (found[0]["words"], changed) == (f"version 7 of ranker is not in {host.root}/models/ranker", False)
    assert host.present() == before


def test_a_policy_that_lists_no_versions_is_left_to_the_roles(host):
    path = host.config / "main/instance.json"
    described = json.loads(path.read_text())
    described["instance"]["model_config"]["model_config_list"]["config"][1]["model_version_policy"] = {"all": {}}
    path.write_text(json.dumps(described))
    found, changed = host.back()
    assert (found[0]["words"], changed) == ("its configuration does not list the versions of ranker", False)


def test_files_of_another_form_are_left_as_they_are(host):
    path = host.config / "main/models.config"
    path.write_text("model_config_list {}\n")
    before = host.present()
    found, changed = host.back()
    assert found[0]["words"] == f"{path}: does not have the model ranker once; run site.yml"
    assert (host.present(), changed) == (before, False)


def test_a_damaged_description_is_named_and_left_alone(host):
    (host.config / "main/instance.json").write_text("{")
    found, changed = host.back()
    assert found[0]["words"].endswith("instance.json cannot be read, so that its models are not known")
    assert not changed


def test_a_server_that_does_not_run_is_left_to_the_roles_with_its_files_ready(host):
    host.unit.unit |= {"ActiveState": "failed", "SubState": "failed", "MainPID": "0", "Result": "exit-code"}
    host.model.states = {8: "AVAILABLE"}
    found, changed = host.back(seconds=60)
    assert (found[0]["answers"], changed) == (False, True)
    assert found[0]["words"]
    assert host.present() == host.wanted(7)


def test_a_host_that_serves_other_models_is_left_alone(host):
    assert way_back.WayBack(host.unit.run, "stranger", MOVE, host.place).go(0) == ([], False)


def test_a_run_that_changes_the_same_files_is_waited_for(host, monkeypatch):
    monkeypatch.setattr(way_back, "LOCKED_S", 0)
    with way_back.WayBack(host.unit.run, "ranker", MOVE, host.place).tree.store.locked():
        found, changed = host.back()
    assert found[0]["words"] == f"{host.root}/trees/tfserving: another run is working on this tree; wait for it to end"
    assert not changed
    assert host.back()[0][0]["answers"]
