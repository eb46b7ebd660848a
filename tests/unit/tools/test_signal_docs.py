# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is generated from the table of signals is as the table has it, and what differs is found."""

from __future__ import annotations

import importlib.util

import pytest
from repository import REPOSITORY


def _tool():
    spec = importlib.util.spec_from_file_location("signal_docs", REPOSITORY / "tools" / "signal_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


signal_docs = _tool()


def test_the_repository_has_what_the_table_says():
    assert signal_docs.stale(REPOSITORY) == []


@pytest.fixture
def written(tmp_path):
    signal_docs.write(tmp_path)
    return tmp_path


def test_a_file_that_was_changed_by_hand_is_found_and_written_again(written):
    page = written / "docs/alerts.md"
    page.write_text("mine", encoding="utf-8")
    assert [path.name for path in signal_docs.stale(written)] == ["alerts.md"]
    signal_docs.write(written)
    assert signal_docs.stale(written) == []


def test_a_dashboard_that_the_table_does_not_make_is_found_and_removed(written):
    stray = written / signal_docs.DASHBOARDS / "old.json"
    stray.write_text("{}", encoding="utf-8")
    assert [path.name for path in signal_docs.stale(written)] == ["old.json"]
    signal_docs.write(written)
    assert not stray.exists()
