# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether whoever runs a playbook works in a clone, and how playbooks and pages are named then."""

from __future__ import annotations

import pytest
from ansible import context
from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import ROOT, Caller, caller, current, version
from repository import REPOSITORY


@pytest.mark.parametrize(
    "given", [["site.yml"], ["playbooks/status.yml"], [f"{REPOSITORY}/site.yml"], ["x", "site.yml"]]
)
def test_a_file_below_the_collection_makes_it_a_clone(monkeypatch, given):
    monkeypatch.chdir(REPOSITORY)
    assert ROOT == REPOSITORY
    assert caller(given) == Caller(REPOSITORY)


def test_a_file_of_the_user_and_a_full_name_make_none(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yml").write_text("- import_playbook: tfserving.fleet.site\n")
    assert caller(["site.yml"]) == caller(["tfserving.fleet.site"]) == caller([]) == Caller(None)


def test_names_are_those_of_the_caller():
    clone, installed = Caller(REPOSITORY), Caller(None)
    assert [clone.playbook(name) for name in ("site", "status")] == ["site.yml", "playbooks/status.yml"]
    assert [installed.playbook(name) for name in ("site", "status")] == [
        "tfserving.fleet.site",
        "tfserving.fleet.status",
    ]
    assert clone.page("wishes") == "docs/wishes.md"
    assert (REPOSITORY / clone.page("wishes")).is_file()
    assert installed.page("wishes") == "https://github.com/tfserving/fleet/blob/main/docs/wishes.md"


def test_the_current_caller_is_read_from_the_command_line(monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", {"args": [f"{REPOSITORY}/site.yml"]})
    assert current() == Caller(REPOSITORY)
    monkeypatch.setattr(context, "CLIARGS", {})
    assert current() == Caller(None)


def test_a_command_names_the_inventories_of_the_run_and_quotes_what_a_shell_would_take(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    sources = [f"{tmp_path}/inventories/mine", "/etc/hosts of mine", "localhost,"]
    monkeypatch.setattr(context, "CLIARGS", {"inventory": sources})
    assert Caller(None).command("rollout", "-e", "model=ranker") == (
        "ansible-playbook -i inventories/mine -i '/etc/hosts of mine' -i localhost,"
        " tfserving.fleet.rollout -e model=ranker"
    )
    monkeypatch.setattr(context, "CLIARGS", {})
    assert Caller(REPOSITORY).command("status") == "ansible-playbook playbooks/status.yml"


def test_the_version_is_that_of_a_clone_or_of_an_installed_collection(tmp_path):
    assert version(tmp_path) == ""
    (tmp_path / "galaxy.yml").write_text("namespace: tfserving\nversion: 1.2.3\n")
    assert version(tmp_path) == "1.2.3"
    (tmp_path / "MANIFEST.json").write_text('{"collection_info": {"version": "2.0.0-rc.1"}, "format": 1}')
    assert version(tmp_path) == "2.0.0-rc.1"
