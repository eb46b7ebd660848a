# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that template_tree has laid down: whatever has become of them is found."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rendered, Rules, plan_tree
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.state import JOURNAL, MANIFEST
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged import trees
from template_tree_place import Place

FILES = {"etc/a/b.conf": b"one", "etc/c.conf": b"two"}


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.present(FILES)
    return place


def look(place):
    return trees.look(str(place.state))


def test_what_was_laid_down_is_as_it_was(place):
    finding = look(place)
    assert finding.due == ""
    assert look(place) == finding
    assert sorted(finding.state["t"]["files"]) == sorted(FILES)


def test_a_host_without_trees_has_an_empty_state(tmp_path):
    assert trees.look(str(tmp_path / "none")) == ("", {})


def test_a_file_with_other_contents_is_named(place):
    (place.dest / "etc/c.conf").write_bytes(b"twO")
    assert look(place).due == str(place.dest / "etc/c.conf")


def test_a_file_that_is_gone_is_named(place):
    (place.dest / "etc/a/b.conf").unlink()
    assert look(place).due == str(place.dest / "etc/a/b.conf")


def test_a_link_in_the_place_of_a_file_is_named(place):
    (place.dest / "etc/c.conf").rename(place.dest / "etc/d.conf")
    (place.dest / "etc/c.conf").symlink_to("d.conf")
    assert look(place).due == str(place.dest / "etc/c.conf")


@pytest.mark.parametrize("path", ["etc/c.conf", "etc/a"])
def test_another_mode_of_a_file_or_directory_is_another_state(place, path):
    before = look(place).state
    os.chmod(place.dest / path, 0o700)
    assert look(place).state != before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_owner_is_another_state(place):
    before = look(place).state
    os.chown(place.dest / "etc/c.conf", 1, -1)
    assert look(place).state != before


def test_a_file_more_in_a_tree_is_another_state(place):
    before = look(place).state
    place.present({**FILES, "etc/e.conf": b"three"})
    assert look(place).state != before


def test_an_unproven_change_is_named(place):
    wanted = {path: Rendered(b"new", path, {}) for path in FILES}
    place.tree().run(lambda one, known: plan_tree(one, wanted, Rules(), known, True), lambda *_all: None, unproven=True)
    assert look(place).due == "the unproven change of the tree t"


def test_an_interrupted_change_is_named(place):
    (place.state / "t" / MANIFEST).rename(place.state / "t" / JOURNAL)
    assert "the interrupted change of the tree t" in look(place).due


def test_a_damaged_record_is_refused_for_the_whole_run_to_tell_of(place):
    (place.state / "t" / MANIFEST).write_text("{")
    with pytest.raises(WishError, match="is damaged"):
        look(place)
