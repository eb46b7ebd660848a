# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence written to the controller, and read back as untrusted."""

from __future__ import annotations

import json
import stat
from datetime import datetime, timezone
from pathlib import Path

import evidence_cases as cases
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import keep


def refusal(work, *arguments):
    with pytest.raises(WishError) as caught:
        work(*arguments)
    return str(caught.value)


def test_what_was_written_is_read_back(tmp_path):
    folder = str(tmp_path / "d")
    paths = [keep.write(folder, each) for each in (cases.healthy(), cases.gateway())]
    assert keep.read(folder) == {"a1": cases.healthy(), "g1": cases.gateway()}
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700


def test_a_host_that_is_called_like_a_path_stays_in_the_folder(tmp_path):
    path = keep.write(str(tmp_path / "d"), cases.healthy(host="../../etc/x"))
    assert path == str(tmp_path / "d" / "%2E%2E%2F%2E%2E%2Fetc%2Fx.json")
    assert list(keep.read(str(tmp_path / "d"))) == ["../../etc/x"]


def test_the_folder_is_named_by_the_time():
    now = datetime(2026, 11, 28, 8, 5, 9, tzinfo=timezone.utc)
    assert keep.folder_named("", now).endswith("/diagnosis-20261128-080509")
    assert keep.folder_named("/srv/d", now) == "/srv/d"


def test_a_report_beside_the_evidence_is_none(tmp_path):
    keep.write(str(tmp_path), cases.healthy())
    (tmp_path / "report.json").write_text(json.dumps({"schema": 1, "findings": []}))
    assert list(keep.read(str(tmp_path))) == ["a1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"schema": 2}', "was written by a later release of the collection (schema 2)"),
        ('{"schema": 1, "host": "a1"}', "does not have the shape of evidence"),
        ("[]", "does not have the shape of evidence"),
        ('{"schema": ', "is not the JSON of evidence"),
        ("[" * 5000 + "]" * 5000, "is not the JSON of evidence (it is nested too deeply)"),
        ('{"a": 1e999}', "is not the JSON of evidence (a number is too large (1e999))"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, problem):
    (tmp_path / "a1.json").write_text(text)
    said = refusal(keep.read, str(tmp_path))
    assert problem in said
    assert str(tmp_path / "a1.json") in said


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "MOST_BYTES", 100)
    keep.write(str(tmp_path), cases.healthy())
    assert "cannot be read (it has more than 100 bytes)" in refusal(keep.read, str(tmp_path))


def test_a_folder_without_evidence_is_refused(tmp_path):
    assert "holds no evidence" in refusal(keep.read, str(tmp_path))
    assert "cannot be read (No such file or directory)" in refusal(keep.read, str(tmp_path / "nowhere"))


def test_two_files_of_one_host_are_refused(tmp_path):
    keep.write(str(tmp_path), cases.healthy())
    (tmp_path / "b.json").write_text(json.dumps(cases.healthy()))
    assert "is a second file of the host a1" in refusal(keep.read, str(tmp_path))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(keep.write, str(tmp_path / "file" / "d"), cases.healthy())


def test_evidence_without_a_host_is_refused(tmp_path):
    assert "names no host" in refusal(keep.write, str(tmp_path), cases.healthy(host=""))
