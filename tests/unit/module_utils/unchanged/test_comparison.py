# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host is unchanged only if every check has run and found what it had found; anything else is named."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.partition import PartitionError
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged import comparison
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged.checks import CHECKS
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged.finding import Finding, digest
from ansible_collections.tfserving.fleet.plugins.modules import fleet_unchanged
from running import run_module

WISHES = "a" * 64


@pytest.fixture
def found(monkeypatch):
    """What each check finds, by its name; a test changes it to let the host change."""
    findings = {name: Finding("", {"of": name}) for name in CHECKS}

    def checked(name):
        def check(_host, given):
            assert given == {"given": name}
            if isinstance(findings[name], BaseException):
                raise findings[name]
            return findings[name]

        return check

    monkeypatch.setattr(comparison, "CHECKS", {name: checked(name) for name in CHECKS})
    return findings


@pytest.fixture
def path(tmp_path):
    return tmp_path / "unchanged.json"


def record(path, **more):
    checks = {name: {"given": name} for name in CHECKS}
    return run_module(
        fleet_unchanged, **{"state": "recorded", "wishes": WISHES, "checks": checks, "path": str(path), **more}
    )


def compare(path, **more):
    return run_module(fleet_unchanged, **{"wishes": WISHES, "path": str(path), **more})


@pytest.fixture
def recorded(found, path):
    assert record(path)["why"] == ""
    return path


def test_a_host_without_changes_is_unchanged_again_and_again(recorded):
    for _run in range(2):
        result = compare(recorded)
        assert (result["unchanged"], result["changed"], result["why"]) == (True, False, "")


@pytest.mark.parametrize(("with_plan", "plan"), [(True, {"schema": 1}), (False, {})])
def test_the_plan_is_returned_for_those_who_need_it(recorded, monkeypatch, with_plan, plan):
    def check(host, _given):
        host.plan, host.status = {"schema": 1}, [{"name": "a"}]
        return Finding("", {"of": "record"})

    monkeypatch.setitem(comparison.CHECKS, "record", check)
    result = compare(recorded, with_plan=with_plan)
    assert (result["plan"], result["status"]) == (plan, {"instances": [{"name": "a"}]})


def test_a_host_with_exporters_is_watched_and_has_its_plan(recorded, monkeypatch):
    def check(host, _given):
        host.plan = {"schema": 1, "monitoring": {"node_port": 9100}}
        return Finding("", {"of": "record"})

    monkeypatch.setitem(comparison.CHECKS, "record", check)
    result = compare(recorded, with_plan=False)
    assert (result["watched"], result["plan"]["monitoring"]) == (True, {"node_port": 9100})


def test_check_mode_compares_as_ever(recorded):
    assert compare(recorded, _ansible_check_mode=True)["unchanged"] is True


def test_check_mode_records_nothing(found, path):
    assert record(path, _ansible_check_mode=True)["unchanged"] is True
    assert not path.exists()


def test_the_record_is_for_root_alone(recorded):
    assert os.stat(recorded).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_that_finds_another_state_makes_a_changed_host(recorded, found, name):
    found[name] = Finding("", {"of": name, "more": 1})
    result = compare(recorded)
    assert (result["unchanged"], result["why"]) == (False, f"{name}: it is not as it was recorded")
    assert (result["plan"], result["status"]) == ({}, {})


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_that_has_something_due_makes_a_changed_host(recorded, found, name):
    found[name] = Finding("the file x", {"of": name})
    assert compare(recorded)["why"] == f"{name}: the file x would change"


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    "error",
    [
        WishError("/etc/x", "is damaged", "move it away"),
        RefusalError("no", "try"),
        PartitionError("no"),
        OSError(5, "Input/output error"),
        RuntimeError("systemctl: no"),
        KeyError("settings"),
        TypeError("no"),
        AttributeError("no"),
        ZeroDivisionError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_check_that_fails_makes_a_changed_host(recorded, found, name, error):
    found[name] = error
    result = compare(recorded)
    assert result["unchanged"] is False
    assert result["why"].startswith(f"{name}: cannot be compared (")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("hush"), "KeyError"),
        (ValueError("hush"), "ValueError"),
        (WishError("/etc/x", "is\n\x1b[2J damaged", "move it"), "/etc/x: is\\n\\x1b[2J damaged; move it"),
    ],
)
def test_errors_are_told_in_one_line_and_those_with_values_by_name(recorded, found, error, words):
    found["kernel"] = error
    assert compare(recorded)["why"] == f"kernel: cannot be compared ({words})"


def test_other_wishes_make_a_changed_host(recorded):
    assert compare(recorded, wishes="b" * 64)["why"] == "its wishes or the collection have changed"


def test_without_a_digest_of_the_wishes_no_host_is_unchanged(recorded):
    assert compare(recorded, wishes="")["why"] == "it has no record of a run"


def test_a_host_without_a_record_is_a_changed_one(found, path):
    assert compare(path)["why"] == "it has no record of a run"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "wishes": "a"}', "\xff"])
def test_a_damaged_record_makes_a_changed_host(recorded, text):
    recorded.write_text(text, encoding="latin-1")
    assert compare(recorded)["why"] == "it has no record of a run"


@pytest.mark.parametrize("part", ["found", "arguments"])
def test_a_record_that_lacks_a_check_makes_a_changed_host(recorded, part):
    content = json.loads(recorded.read_text())
    del content[part]["kernel"]
    recorded.write_text(json.dumps(content))
    assert compare(recorded)["why"] == "its record is of another release"


@pytest.mark.parametrize("name", CHECKS)
def test_what_a_whole_run_would_still_change_is_not_recorded_and_removes_the_record(recorded, found, name):
    found[name] = Finding("something", {})
    assert record(recorded)["why"] == f"{name}: something would change"
    assert not recorded.exists()


def test_a_check_without_arguments_is_not_recorded(found, path):
    assert record(path, checks={})["why"] == "record: there are no arguments to repeat it with"


def test_without_a_digest_of_the_wishes_nothing_is_recorded(found, path):
    assert record(path, wishes="")["why"] == "there is no digest of the wishes"
    assert not path.exists()


def test_a_record_that_cannot_be_written_is_told(found, tmp_path):
    (tmp_path / "file").write_text("")
    result = record(tmp_path / "file" / "unchanged.json")
    assert result["failed"] is True
    assert result["msg"].endswith("check that host's files")


def test_digests_tell_states_apart_and_do_not_depend_on_the_order_of_names():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert len({digest(each) for each in ({"a": 1}, {"a": "1"}, {"a": [1]}, {"a": None}, {}, [])}) == 6


def test_what_may_be_secret_reaches_the_checks_and_no_record(recorded, found, monkeypatch):
    seen = []
    monkeypatch.setitem(comparison.CHECKS, "models", lambda host, _given: seen.append(host.beside) or found["models"])
    beside = {"sources": "{}", "headers": {"authorization": "hush"}}
    record(recorded, beside=json.dumps(beside))
    assert compare(recorded, beside=json.dumps(beside))["unchanged"] is True
    assert seen == [beside, beside]
    assert "hush" not in recorded.read_text()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_mapping_beside_the_record_is_refused(recorded, text):
    assert compare(recorded, beside=text)["msg"].startswith("beside: is not the JSON of a mapping")
