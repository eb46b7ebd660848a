# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Marks are about one process: the next one, however it came to be, has none."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import marks as marks_of
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED, LEAVING
from gate_cases import Folder


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_a_process_is_known_by_the_id_of_its_start(folder):
    assert folder.marks.invocation("ranker") == ""
    folder.runs("a")
    assert folder.marks.invocation("ranker") == "a"


def test_a_mark_is_about_the_running_process(folder):
    folder.runs("a")
    assert folder.marks.put("ranker", LEAVING) == 0
    assert folder.marks.of("ranker", LEAVING) == "a"
    assert folder.marks.of("ranker", ADMITTED) == ""
    folder.runs("b")
    assert folder.marks.of("ranker", LEAVING) != folder.marks.invocation("ranker")


def test_the_companion_can_read_marks(folder):
    folder.runs("a")
    folder.marks.put("ranker", LEAVING)
    assert os.stat(folder.marks.folder).st_mode & 0o777 == 0o755
    assert os.stat(f"{folder.marks.folder}/ranker.leaving").st_mode & 0o777 == 0o644


def test_a_second_mark_tells_for_how_long_there_has_been_one(folder):
    folder.runs("a")
    folder.marks.put("ranker", LEAVING)
    path = f"{folder.marks.folder}/ranker.leaving"
    before = os.stat(path).st_mtime - 50
    os.utime(path, (before, before))
    assert folder.marks.put("ranker", LEAVING) >= 50
    folder.runs("b")
    assert folder.marks.put("ranker", LEAVING) == 0


def test_a_clock_that_was_set_back_makes_no_age_negative(tmp_path):
    path = tmp_path / "x"
    path.write_text("")
    os.utime(path, (4e9, 4e9))
    assert marks_of.age_s(str(path)) == 0
    assert marks_of.age_s(str(tmp_path / "none")) == 0


def test_nothing_is_marked_where_nothing_runs(folder):
    folder.marks.put("ranker", LEAVING)
    assert not os.path.exists(folder.marks.folder)


def test_a_mark_that_is_too_long_or_no_file_is_none(folder, tmp_path):
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks/ranker.leaving").write_text("a" * 1000)
    (tmp_path / "marks/ranker.admitted").mkdir()
    assert folder.marks.of("ranker", LEAVING) == folder.marks.of("ranker", ADMITTED) == ""


def test_a_mark_can_be_dropped_twice(folder):
    folder.runs("a")
    folder.marks.put("ranker", LEAVING)
    for _twice in range(2):
        folder.marks.drop("ranker", LEAVING)
    assert folder.marks.of("ranker", LEAVING) == ""
