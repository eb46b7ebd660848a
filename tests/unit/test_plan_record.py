# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of the plan in force."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.modules import plan_record

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"


@pytest.fixture
def run(tmp_path):
    """Run the module as the host would; return its exit status and its answer."""

    def call(**arguments):
        check = arguments.pop("check", False)
        answer = subprocess.run(
            [sys.executable, plan_record.__file__],
            input=json.dumps(
                {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_tmpdir": str(tmp_path)}}
            ),
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(COLLECTIONS), "PATH": "/usr/bin:/bin"},
            check=False,
        )
        return answer.returncode, json.loads(answer.stdout)

    return call


def test_a_host_without_a_record_has_an_empty_plan(run, tmp_path):
    assert run(path=str(tmp_path / "etc/plan.json")) == (
        0,
        {**run(path=str(tmp_path / "etc/plan.json"))[1], "changed": False, "plan": {}},
    )


def test_a_recorded_plan_is_read_back_and_recorded_once(run, tmp_path):
    path = str(tmp_path / "etc/plan.json")
    assert run(path=path, plan={"schema": 1})[1]["changed"] is True
    assert run(path=path, plan={"schema": 1})[1]["changed"] is False
    assert run(path=path)[1]["plan"] == {"schema": 1}


def plan_of(release):
    return {"schema": 1, "server": {"version": release, "release": {"id": f"serving@{release}"}}}


def test_the_release_before_the_present_one_is_remembered_beside_the_plan(run, tmp_path):
    path = str(tmp_path / "plan.json")
    assert run(path=path, plan=plan_of("1"))[1]["previous_server"] == {}
    for release, before in (("1", {}), ("2", plan_of("1")["server"]), ("2", plan_of("1")["server"])):
        answer = run(path=path, plan=plan_of(release))[1]
        assert (answer["plan"], answer["previous_server"]) == (plan_of(release), before)
    assert run(path=path, plan=plan_of("1"))[1]["previous_server"] == plan_of("2")["server"]
    assert run(path=path)[1]["plan"] == plan_of("1")


def test_check_mode_shows_the_difference_and_leaves_the_record(run, tmp_path):
    path = str(tmp_path / "plan.json")
    run(path=path, plan={"schema": 1})
    answer = run(path=path, plan={"schema": 1, "warnings": []}, check=True)[1]
    assert answer["changed"] is True
    assert '"warnings": []' in answer["diff"]["after"]
    assert run(path=path)[1]["plan"] == {"schema": 1}


def test_a_record_that_is_no_plan_is_refused_with_its_path(run, tmp_path):
    (tmp_path / "plan.json").write_text("{half")
    code, answer = run(path=str(tmp_path / "plan.json"))
    assert code == 1
    assert answer["msg"].startswith(f"{tmp_path}/plan.json: cannot be read as a plan (")
    assert answer["msg"].endswith("; move it away and run again")


def mode_of(path):
    return path.stat().st_mode & 0o777


def test_the_record_is_for_root_alone_and_an_open_one_is_closed(run, tmp_path):
    path = tmp_path / "plan.json"
    run(path=str(path), plan={"schema": 1})
    assert mode_of(path) == 0o600
    path.chmod(0o644)
    assert run(path=str(path), plan={"schema": 1}, check=True)[1]["changed"] is True
    assert mode_of(path) == 0o644
    assert run(path=str(path), plan={"schema": 1})[1]["changed"] is True
    assert mode_of(path) == 0o600
    assert list(tmp_path.glob(".plan*")) == []


def test_the_values_in_a_record_of_release_0_1_0_are_neither_returned_nor_shown_and_go(run, tmp_path):
    path = tmp_path / "plan.json"
    old = {
        "name": "a",
        "environment": {"DB_URL": "Tr0ub4dor", "LD_PRELOAD": "/a.so"},
        "overrides": ["environment.DB_URL"],
    }
    path.write_text(json.dumps({"schema": 1, "instances": [old]}))
    new = {"name": "a", "environment": {"LD_PRELOAD": "/a.so"}, "environment_digests": {"DB_URL": "hmac:0"}}
    answers = [run(path=str(path)), run(path=str(path), plan={"schema": 1, "instances": [new]})]
    assert "Tr0ub4dor" not in json.dumps([answers[0], answers[1]])
    assert answers[1][1]["changed"] is True
    assert "Tr0ub4dor" not in path.read_text()


def test_the_key_is_returned_where_it_is_asked_for_and_kept_nowhere(run, tmp_path):
    where = tmp_path / "plan.key"
    asked = {"path": str(tmp_path / "plan.json"), "key_path": str(where)}
    assert len(run(**asked)[1]["key"]) == 64
    assert not where.exists()
    where.write_text("5e" * 32)
    assert run(**asked)[1]["key"] == "5e" * 32
    assert "key" not in run(path=asked["path"])[1]
