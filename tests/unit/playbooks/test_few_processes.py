# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What keeps the processes of a run few and cheap, with each ansible-core that a run may have."""

from __future__ import annotations

import json

import pytest
import yaml
from driver_hosts import host_of
from playbook_place import Place
from repository import REPOSITORY

UNIT = REPOSITORY / "roles/tfserving/templates/host/etc/systemd/system/tfserving@.service.j2"

# A filter that tells which process asks for it, and whether the collection's filters are there by then.
WITNESS = """
import json, os, sys

def witness(value):
    place = "ansible_collections.tfserving.fleet.plugins.filter."
    loaded = sorted(name.removeprefix(place) for name in sys.modules if name.startswith(place))
    with open(os.path.join(os.path.dirname(__file__), "witnessed"), "a") as file:
        file.write(json.dumps([os.getpid(), os.getppid(), loaded]) + "\\n")
    return value

class FilterModule:
    def filters(self):
        return {"witness": witness}
"""


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_workers_are_forked_from_the_process_that_has_loaded_the_filters(place):
    (place.folder / "filter_plugins").mkdir()
    (place.folder / "filter_plugins/witness.py").write_text(WITNESS)
    place.inventory({"tfserving": {"h1": {}}})
    place.playbook(
        {"ansible.builtin.debug": {"msg": "{{ 'here' | witness }}"}},
        hosts="{{ 'all' | tfserving.fleet.loaded | witness }}",
    )
    code, output = place.run("play.yml", "-e", "ansible_connection=local")
    assert code == 0, output
    *parents, (worker, parent, loaded) = map(
        json.loads, (place.folder / "filter_plugins/witnessed").read_text().splitlines()
    )
    assert worker not in {process for process, *_rest in parents}
    assert parent in {process for process, *_rest in parents}
    assert loaded == sorted(path.stem for path in (REPOSITORY / "plugins/filter").glob("*.py"))


def test_every_run_on_the_fleet_begins_with_loading_them():
    (play,) = yaml.safe_load((REPOSITORY / "playbooks/plays/hosts.yml").read_text())
    assert play["hosts"] == "{{ 'all:localhost' | tfserving.fleet.loaded }}"


def test_a_template_says_the_same_by_either_lookup(place):
    """Or servers of one release would restart for the next one: the text's digest is part of a unit."""
    variables = {
        "__tfserving_tls": False,
        "__tfserving_own_addresses": ["localhost"],
        "__tfserving_readers": ["192.0.2.7"],
        "tfserving_plan": {"gate": {"drain_timeout_s": 60}, "instances": []},
        "tfserving_group": "tfserving",
        "tfserving_address_rules": "systemd",
        "tfserving_allow_from": ["localhost", "10.0.0.0/8"],
        "tfserving_allow_to": [],
        "tfserving_open_files": 65536,
        "__tfserving_missing": "",
    }
    place.inventory({"tfserving": {"h1": {}}}, **variables)
    same = f"lookup('ansible.builtin.template', '{UNIT}') == lookup('tfserving.fleet.rendered', '{UNIT}')"
    shown = {"ansible.builtin.debug": {"msg": f"{{{{ lookup('tfserving.fleet.rendered', '{UNIT}') }}}}"}}
    place.playbook({"ansible.builtin.assert": {"that": same}}, shown)
    code, output = place.run("play.yml")
    assert code == 0, output
    assert "IPAddressAllow=10.0.0.0/8" in output


@pytest.mark.parametrize(("gpus", "group"), [({}, "change"), ({"gpus": []}, "none")], ids=["change", "none"])
def test_a_host_joins_the_group_of_what_its_driver_is_due_for(place, gpus, group):
    place.inventory({"tfserving": {"h1": {}}})
    survey = {"ansible.builtin.include_role": {"name": "tfserving.fleet.nvidia_driver", "tasks_from": "survey.yml"}}
    place.playbook(survey, {"ansible.builtin.debug": {"msg": "in {{ group_names | join(' ') }}"}})
    facts = {"distribution": "Debian", "distribution_version": "12", "architecture": "x86_64"}
    told = {"__nvidia_driver_before": host_of(**gpus), "ansible_facts": facts}
    code, output = place.run("play.yml", "-e", json.dumps(told))
    assert code == 0, output
    assert f"in fleet_driver_{group} tfserving" in output
    assert "changed=0" in output


def test_a_host_with_a_bundle_joins_the_group_of_such_hosts(place):
    place.inventory({"tfserving": {"h1": {"tfserving_fleet_bundle": "/srv/bundle"}, "h2": {}}})
    validate = {"ansible.builtin.include_role": {"name": "tfserving.fleet.host_plan", "tasks_from": "validate.yml"}}
    place.playbook(validate, {"ansible.builtin.debug": {"msg": "bundled: {{ groups.fleet_bundled }}"}})
    code, output = place.run("play.yml", "--check")
    assert code == 0, output
    assert "bundled: ['h1']" in output.replace('"', "'").replace("[ 'h1' ]", "['h1']").replace("- h1", "['h1']")
    assert "changed=0" in output
