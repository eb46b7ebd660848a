# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A report is written as a whole, or refused in one sentence."""

from __future__ import annotations

import re
import stat

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.file import write


def test_a_report_replaces_the_last_one_and_may_be_read_by_others(tmp_path):
    dest = tmp_path / "plan.html"
    dest.write_text("the last one, which was much longer")
    assert write(str(dest), "größer") == dest
    assert dest.read_text(encoding="utf-8") == "größer"
    assert stat.S_IMODE(dest.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [dest]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (".", "is a directory; name a file in it"),
        (["plan.html"], "is a list; give the path of a file"),
        (5, "is the number 5; give the path of a file"),
        ("missing/plan.html", "cannot be written (No such file or directory); choose another place"),
        ("x" * 300, "cannot be written (File name too long); choose another place"),
        ("a\0b", "is not a path (it holds a null byte); choose another place"),
        ("~nobody-has-this-name/a", "is not a path (Could not determine home directory.); choose another place"),
        ("\ud800", " surrogates not allowed); choose another place"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch, place, problem):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WishError, match=f"^dest: .*{re.escape(problem)}$"):
        write(place, "text")
    assert list(tmp_path.iterdir()) == []
