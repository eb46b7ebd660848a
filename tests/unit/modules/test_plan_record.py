# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of the plan in force."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import plan_record as plan_store
from ansible_collections.tfserving.fleet.plugins.modules import plan_record
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.plan import SCHEMA
from running import run_module, run_module_alone


@pytest.fixture
def run():
    """Run the module in this process; return 1 where it failed, else 0, and its answer."""

    def call(check=False, **arguments):
        answer = run_module(plan_record, **arguments, _ansible_check_mode=check)
        return int(answer.get("failed", False)), answer

    return call


@pytest.fixture
def run_alone(tmp_path):
    """Run the module as the host would, with a stack of its own; return the same."""

    def call(**arguments):
        answer = run_module_alone("plan_record", tmp_path, **arguments)
        return int(answer.get("failed", False)), answer

    return call


def test_a_host_without_a_record_has_an_empty_plan(run, tmp_path):
    assert run(path=str(tmp_path / "etc/plan.json")) == (
        0,
        {**run(path=str(tmp_path / "etc/plan.json"))[1], "changed": False, "plan": {}},
    )


def test_a_recorded_plan_is_read_back_and_recorded_once(run_alone, tmp_path):
    path = str(tmp_path / "etc/plan.json")
    assert run_alone(path=path, plan={"schema": 1})[1]["changed"] is True
    assert run_alone(path=path, plan={"schema": 1})[1]["changed"] is False
    assert run_alone(path=path)[1]["plan"] == {"schema": 1}


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


MOVE = "move it away and run again"
DEEP = 100_000


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"null", "holds nothing where a plan has a mapping"),
        (b"5", "holds a number where a plan has a mapping"),
        (b"[]", "holds a list where a plan has a mapping"),
        (b'"plan"', "holds a string where a plan has a mapping"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{half", "is not complete JSON (Expecting property name enclosed in double quotes, line 1)"),
        (b'{"a": 1,\n"server": {', "is not complete JSON (Expecting property name enclosed in double quotes, line 2)"),
        (b'{"schema": 1} {}', "is not complete JSON (Extra data, line 1)"),
        (b"\0" * 4096, "is not complete JSON (Expecting value, line 1)"),
        (b'{"schema": "\xff"}', "is not text in UTF-8 (byte 12)"),
        (b'{"schema": NaN}', "is not the JSON of a plan (NaN is not a number)"),
        (b'{"schema": -Infinity}', "is not the JSON of a plan (-Infinity is not a number)"),
        (b'{"schema": "1"}', "schema is a string where a plan has a number"),
        (b'{"schema": true}', "schema is a boolean where a plan has a number"),
        (b'{"server": 5}', "server is a number where a plan has a mapping"),
        (b'{"server": {"release": "r"}}', "server.release is a string where a plan has a mapping"),
        (b'{"server": {"release": {"path": 1}}}', "server.release.path is a number where a plan has a string"),
        (b'{"previous_server": []}', "previous_server is a list where a plan has a mapping"),
        (b'{"instances": 5}', "instances is a number where a plan has a list"),
        (b'{"instances": [5]}', "instances[0] is a number where a plan has a mapping"),
        (b'{"instances": [{}]}', "instances[0] has no name"),
        (b'{"instances": [{"ports": {"rest": "x"}}]}', "instances[0].ports.rest is a string where a plan has a number"),
        (b'{"models": [{"name": null}]}', "models[0].name is nothing where a plan has a string"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("arguments", [{}, {"plan": {"schema": 1}}])
def test_a_damaged_record_is_refused_in_one_sentence_and_left_alone(run, tmp_path, content, problem, arguments):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    code, answer = run(path=str(path), **arguments)
    assert (code, answer["msg"]) == (1, f"{path}: {problem}; {MOVE}")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"[" * DEEP, b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", b'{"schema": ' + b"1" * 5000 + b"}", b'{"a": 1e999}'],
    ids=["deep", "less deep", "long number", "infinity"],
)
def test_a_record_that_no_parser_takes_is_refused_too(run_alone, tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    code, answer = run_alone(path=str(path))
    assert code == 1
    assert answer["msg"].startswith(f"{path}: is not the JSON of a plan (")
    assert answer["msg"].endswith(f"); {MOVE}")


def test_a_record_of_a_later_release_is_not_read(run, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text('{"schema": 2, "instances": [{"name": "a"}]}')
    code, answer = run(path=str(path))
    sentence = "was written by a later release of the collection (schema 2); use that release or a later one"
    assert (code, answer["msg"]) == (1, f"{path}: {sentence}")


def test_a_record_larger_than_any_plan_is_not_read(run, tmp_path):
    path = tmp_path / "plan.json"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    code, answer = run(path=str(path))
    assert (code, answer["msg"]) == (1, f"{path}: cannot be read (it has more than 16777216 bytes); {MOVE}")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkdir, "cannot be read (it is a directory)"),
        (os.mkfifo, "cannot be read (it is no file)"),
        (lambda path: os.symlink(path, path), "cannot be read (Too many levels of symbolic links)"),
    ],
)
def test_what_is_no_file_is_refused(run, tmp_path, make, problem):
    path = tmp_path / "plan.json"
    make(str(path))
    code, answer = run(path=str(path))
    assert (code, answer["msg"]) == (1, f"{path}: {problem}; {MOVE}")


def test_a_record_is_on_disk_before_it_takes_its_place_and_its_place_before_the_end(tmp_path, monkeypatch):
    done = []
    kind = {True: "folder", False: "file"}
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(kind[stat.S_ISDIR(os.fstat(handle).st_mode)]))
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("rename"), rename(*names)))
    plan_store.write(str(tmp_path / "plan.json"), {"schema": 1})
    assert done == ["file", "rename", "folder"]


def test_nothing_is_left_beside_the_record_by_a_failure_or_for_long_by_a_kill(tmp_path):
    path = tmp_path / "plan.json"
    path.mkdir()
    with pytest.raises(WishError, match=r"cannot be written \(Is a directory\)$"):
        plan_store.write(str(path), {"schema": 1})
    assert list(tmp_path.iterdir()) == [path]
    path.rmdir()
    (tmp_path / ".plan.json.new").write_text("half")
    plan_store.write(str(path), {"schema": 1})
    assert list(tmp_path.iterdir()) == [path]
    assert plan_store.read(str(path)) == {"schema": 1}


def test_records_are_of_the_schema_that_the_planner_writes():
    assert SCHEMA == plan_store.SCHEMA


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
