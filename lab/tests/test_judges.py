# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What judges the collection: which ansible-cores and Pythons are taken, and what counts as a complaint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from fleet_lab import ee, sanity, testing
from fleet_lab.build import judge_packages, python_packages
from fleet_lab.config import Lab
from fleet_lab.errors import Stop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab(tmp_path):
    return Lab(root=ROOT, cache=tmp_path)


def has_core(lab, *cores):
    for core in cores:
        stamp = judge_packages.folder(lab, f"core-{core}") / python_packages.STAMP
        stamp.parent.mkdir(parents=True)
        stamp.touch()


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def names(stages):
    return [name for name, _work in stages]


def test_a_shim_that_starts_no_python_is_none(tmp_path):
    program(tmp_path / "bin" / "python3.12", "exit 127")
    real = program(tmp_path / "home" / ".pyenv" / "versions" / "3.13.7" / "bin" / "python3.13", "echo 3.13")
    environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")}
    assert judge_packages.pythons(environment) == {"3.13": real}


def test_of_several_pythons_the_one_that_is_named_first_is_taken():
    found = {"3.12": Path("/twelve"), "3.13": Path("/thirteen")}
    assert judge_packages.first(found, judge_packages.CORES["2.20"]) == Path("/twelve")
    assert judge_packages.first(found, judge_packages.CORES["2.21"]) == Path("/thirteen")
    assert judge_packages.first({}, judge_packages.CORES["2.21"]) is None


def test_where_no_python_is_new_enough_the_missing_cores_are_named(lab, monkeypatch):
    monkeypatch.setattr(judge_packages, "pythons", lambda: {"3.11": Path("/eleven")})
    assert judge_packages.cores(lab) == (
        "no 2.20, which wants Python 3.12 or 3.13 or 3.14; no 2.21, which wants Python 3.12 or 3.13 or 3.14"
    )


def test_all_tests_take_the_oldest_and_the_newest_core_and_the_target_takes_each(lab):
    has_core(lab, "2.20", "2.21")
    assert {name.split(":")[0] for name in names(testing.floor(lab))} == {
        "ansible-core 2.19.4",
        "ansible-core 2.20",
        "ansible-core 2.21",
    }
    assert {name.split(":")[0] for name in names(testing.floor(lab, each=False))} == {
        "ansible-core 2.19.4",
        "ansible-core 2.21",
    }


def test_without_a_newer_python_the_oldest_core_remains(lab):
    assert {name.split(":")[0] for name in names(testing.floor(lab, each=False))} == {"ansible-core 2.19.4"}


@pytest.mark.parametrize("suite", [testing.floor, sanity.sanity])
def test_a_core_that_is_not_here_is_refused_with_those_that_are(lab, suite):
    has_core(lab, "2.21")
    with pytest.raises(Stop, match=r"there is no ansible-core 2\.20 here; known are: 2\.19(\.4)?, 2\.21"):
        suite(lab, "2.20")


def test_sanity_takes_the_pinned_core_and_the_newest(lab):
    has_core(lab, "2.20", "2.21")
    assert names(sanity.sanity(lab)) == ["sanity: 2.19", "sanity: 2.21", "sanity: galaxy-importer", "sanity: docs site"]


def test_labels_of_other_projects_are_no_complaint_about_the_docs_site():
    ours = "/x/a.rst:1: WARNING: undefined label: 'ansible_collections.tfserving.fleet.nothing_module' [ref.ref]"
    theirs = "/x/a.rst:2: WARNING: undefined label: 'ansible_collections.ansible.builtin.copy_module' [ref.ref]"
    broken = "/x/a.rst:3: ERROR: Unexpected indentation. [docutils]"
    assert sanity.own_warnings("\n".join(["building", ours, theirs, broken])) == [ours, broken]


def test_the_policy_names_each_core_that_is_tested_and_each_has_its_list_of_exceptions():
    row = next(
        line for line in (ROOT / "docs" / "policy.md").read_text().splitlines() if line.startswith("| ansible-core")
    )
    tested = [sanity.PINNED, *judge_packages.CORES]
    assert row.split("|")[2].strip() == ", ".join(tested)
    for core in tested:
        assert (ROOT / "tests" / "sanity" / f"ignore-{core}.txt").is_file()


def test_every_exception_from_the_sanity_tests_has_a_reason():
    for path in (ROOT / "tests" / "sanity").glob("ignore-*.txt"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if not re.fullmatch(r"\S+ [a-z-]+(:[a-z0-9-]+)? # \S.*", line)] == []


def test_an_execution_environment_gets_what_the_collection_declares_and_nothing_from_galaxy():
    wanted = ee.definition("base:1", Path("/cache/tfserving-fleet-1.0.0.tar.gz"))
    assert wanted["dependencies"]["galaxy"]["collections"] == [
        {"name": "dist/tfserving-fleet-1.0.0.tar.gz", "type": "file"}
    ]
    assert wanted["images"]["base_image"]["name"] == "base:1"
    declared = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text())["dependencies"]
    assert declared == {"system": "bindep.txt"}
    assert "openssl" in (ROOT / "bindep.txt").read_text()


def test_the_environment_has_the_ansible_core_that_everything_else_is_tested_with():
    pins = (ROOT / "requirements" / "judges.in").read_text() + (ROOT / "requirements" / "dev.in").read_text()
    assert pins.count(f"{ee.CORE} ") + pins.count(f"{ee.CORE}\n") == 2
