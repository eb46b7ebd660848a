# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A run without hosts, with batches that are none, or with hosts that cannot be reached, ends with one sentence."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet.hosts import check
from playbook_place import DEAD, Place
from refusing import refusal
from repository import REPOSITORY

FOLDER = REPOSITORY / "playbooks"
PLAYBOOKS = {path.stem for path in FOLDER.glob("*.yml")}
GROUPS = {"all": ["a", "b"], "ungrouped": [], "serving": ["a", "b"], "empty": []}
# They run before there is a fleet.
HOSTLESS = {"starter"}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def first_of(playbook):
    """Return the playbook that another one begins with."""
    first = yaml.safe_load((FOLDER / f"{playbook}.yml").read_text())[0]
    assert first.keys() - {"vars"} == {"name", "ansible.builtin.import_playbook"}, playbook
    return first["ansible.builtin.import_playbook"]


def test_every_playbook_looks_for_its_hosts_first_and_what_changes_them_takes_their_lock():
    changing = {playbook for playbook in PLAYBOOKS - HOSTLESS if first_of(playbook) == "plays/begin.yml"}
    assert changing == {"adopt_takeover", "adopt_undo", "rollout", "serve", "server_rollback", "site"}
    # They look for the host of one instance, in a play that takes that host's lock.
    measuring = {playbook for playbook in PLAYBOOKS - HOSTLESS if first_of(playbook) == "plays/measured.yml"}
    assert measuring == {"benchmark", "profile", "tune"}
    assert {first_of(playbook) for playbook in PLAYBOOKS - HOSTLESS - changing - measuring} == {"plays/hosts.yml"}
    assert first_of("plays/begin") == "hosts.yml"


def test_an_inventory_without_the_group_is_refused_and_those_there_are_named(place):
    place.inventory({"serving": {"a": {}, "b": {}}, "balancers": {"c": {}}})
    code, output = place.run("tfserving.fleet.site")
    assert code != 0
    assert (
        "fleet_hosts: no host of the inventory matches 'tfserving'; name others with -e fleet_hosts=...; "
        "the groups that have hosts are balancers, serving"
    ) in output
    assert "Traceback" not in output


def test_a_limit_that_leaves_nobody_is_refused(place):
    place.inventory({"tfserving": {"a": {}, "b": {}}, "balancers": {"c": {}}})
    code, output = place.run("tfserving.fleet.certificates", "--limit", "c")
    assert code != 0
    assert "--limit: leaves none of the fleet's hosts ('tfserving'); they are a, b" in output


def test_an_empty_inventory_is_refused_too(place):
    (place.folder / "hosts.yml").write_text("all:\n")
    code, output = place.run("tfserving.fleet.status")
    assert code != 0
    sentence = "the inventory has no group with hosts; write one, or name another with -i"
    assert f"fleet_hosts: no host of the inventory matches 'tfserving'; {sentence}" in output


BATCH = "write a number of hosts from 1, a percentage from 1% to 100%, or a list of these"
PATTERN = "write a pattern of hosts, such as tfserving or rack1:rack2"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (0, "is the number 0"),
        (-1, "is the number -1"),
        (1.5, "is the fraction 1.5"),
        (True, "is the boolean true"),
        (None, "is nothing"),
        ("x", "is the string 'x'"),
        ("0%", "is a string"),
        ("101%", "is a string"),
        ("-5%", "is a string"),
        ("", "is the string ''"),
        ([], "is a list"),
        ([1, "x"], "is the string 'x'"),
        ({"a": 1}, "is a mapping"),
    ],
)
def test_batches_that_are_none_are_refused(value, what):
    sentence = refusal(check, "serving", ["a"], ["a"], GROUPS, {"fleet_serial": value})
    assert sentence == f"fleet_serial: {what}; {BATCH}"


@pytest.mark.parametrize("value", [1, "2", "25%", "100%", [1, "10%", 5], 500])
def test_batches_that_ansible_can_count_are_taken(value):
    assert refusal(check, "serving", ["a"], ["a"], GROUPS, {"fleet_serial": value}) == ""


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("", "is empty"),
        (5, "is the number 5"),
        (None, "is nothing"),
        (["a", 5], "is the number 5"),
        ({"a": 1}, "is a mapping"),
    ],
)
def test_a_pattern_that_is_none_is_refused(pattern, what):
    assert refusal(check, pattern, [], ["a"], GROUPS, {}) == f"fleet_hosts: {what}; {PATTERN}"


@pytest.mark.parametrize("variables", [{"fleet_driver_serial": "x"}, {"fleet_hosts": 5}])
def test_a_playbook_refuses_them_before_anything_else(place, variables):
    place.inventory({"tfserving": {"a": {}}})
    code, output = place.run("tfserving.fleet.site", "-e", json.dumps(variables))
    assert code != 0
    assert f"{next(iter(variables))}: is the " in output
    assert "Traceback" not in output
    assert "Unexpected" not in output


def test_batches_may_be_set_in_the_inventory(place):
    place.inventory({"tfserving": {"a": {}, "b": {}}}, fleet_serial="none")
    code, output = place.run("tfserving.fleet.site")
    assert code != 0
    assert f"fleet_serial: is the string 'none'; {BATCH}" in output


def test_what_changes_hosts_ends_with_the_sentence(place):
    place.inventory({"tfserving": {"a": {}, "dead": DEAD}})
    code, output = place.run("tfserving.fleet.site", "--check")
    assert code != 0
    assert "dead: cannot be reached, and nothing has been changed on any host; fix that" in output
    assert "PLAY [Compare the drivers" not in output


def test_status_shows_the_rest_and_names_who_is_missing(place):
    place.inventory({"tfserving": {"a": {}, "dead": DEAD}})
    code, output = place.run("tfserving.fleet.status")
    assert code != 0
    assert "a: no plan is in force" in output
    assert "No answer, see the messages above: dead" in output
    assert "dead - - - " in output


def test_a_plan_shows_the_rest_and_names_who_is_missing(place):
    place.inventory({"tfserving": {"a": {}, "dead": DEAD}})
    code, output = place.run("tfserving.fleet.plan", "-e", "plan_html= __host_plan_service_manager=systemd")
    assert code != 0
    assert "Reasons housekeeping.cpus" in output
    assert "Not planned, see the messages above: dead" in output


def test_a_run_that_leaves_hosts_out_goes_on_says_so_and_fails(place):
    place.inventory({"tfserving": {"a": {}, "dead": DEAD}}, fleet_unreachable="leave_out")
    (place.folder / "play.yml").write_text(
        f"""
- ansible.builtin.import_playbook: {REPOSITORY}/playbooks/plays/begin.yml
- hosts: tfserving
  gather_facts: false
  serial: 1
  any_errors_fatal: true
  tasks:
    - ansible.builtin.debug:
        msg: "changed: {{{{ inventory_hostname }}}}"
    - ansible.builtin.include_role:
        name: tfserving.fleet.fleet
        tasks_from: end.yml
"""
    )
    code, output = place.run("play.yml", "--check")
    assert code != 0
    assert "dead: cannot be reached; this run leaves it out" in output
    assert "changed: a" in output
    assert "changed: dead" not in output
    assert "dead: could not be reached and was left out (fleet_unreachable); nothing is changed there." in output
    assert "Run again with --limit 'dead' when that is fixed." in output


def test_a_monitoring_that_fails_on_every_host_ends_no_run_before_its_end_and_fails_it(place):
    place.inventory(
        {"tfserving": {"a": {}}, "tfserving_monitoring": {"watch": {}}},
        tfserving_address="192.0.2.1",
        monitoring_retention_days=0,
    )
    (place.folder / "play.yml").write_text(
        f"""
- ansible.builtin.import_playbook: {REPOSITORY}/playbooks/plays/monitoring.yml
- hosts: tfserving
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "finished: {{{{ inventory_hostname }}}}"
- ansible.builtin.import_playbook: {REPOSITORY}/playbooks/plays/monitoring_end.yml
"""
    )
    code, output = place.run("play.yml", "--check")
    assert code != 0
    assert "finished: a" in output
    said = "The monitoring of watch could not be applied: monitoring_retention_days: is the number 0"
    assert said in output.rpartition("finished: a")[2]


def test_a_run_goes_on_without_its_only_monitoring_host_says_so_and_fails(place):
    place.inventory(
        {"tfserving": {"a": {}}, "tfserving_monitoring": {"watch": {**DEAD, "tfserving_address": "192.0.2.1"}}}
    )
    (place.folder / "play.yml").write_text(
        f"""
- ansible.builtin.import_playbook: {REPOSITORY}/playbooks/plays/begin.yml
- hosts: tfserving
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "changed: {{{{ inventory_hostname }}}}"
- hosts: tfserving:tfserving_monitoring
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: tfserving.fleet.fleet
        tasks_from: spared.yml
    - ansible.builtin.debug:
        msg: "watched: {{{{ inventory_hostname }}}}"
"""
    )
    code, output = place.run("play.yml", "--check", "-e", "tfserving_address=192.0.2.1")
    assert code != 0
    assert "changed: a" in output
    assert "watch: cannot be reached; this run leaves it out" in output
    assert "watched: a" in output
    assert "watched: watch" not in output
