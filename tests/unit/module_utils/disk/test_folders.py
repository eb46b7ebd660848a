# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Directories have the mode that they are given, whatever the umask, and so have the parents made with them."""

from __future__ import annotations

import os
import re
import stat

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import folders
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Attributes
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store as ModelStore
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.store import Store as ReleaseStore
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.state import Store as TreeStore
from repository import REPOSITORY
from template_tree_place import Place

PLUGINS = REPOSITORY / "plugins"


@pytest.fixture(params=[0o077, 0o027, 0o777])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(path, root):
    """The modes from below ``root`` down to the path."""
    parts = path.relative_to(root).parts
    return [stat.S_IMODE(root.joinpath(*parts[: count + 1]).stat().st_mode) for count in range(len(parts))]


def test_all_missing_parents_can_be_passed(umask, tmp_path):
    folders.make(tmp_path / "a/b/c/d")
    assert modes(tmp_path / "a/b/c/d", tmp_path) == [0o755] * 4


def test_only_the_last_one_is_private(umask, tmp_path):
    folders.make(tmp_path / "a/b/c", 0o700)
    assert modes(tmp_path / "a/b/c", tmp_path) == [0o755, 0o755, 0o700]


def test_what_is_there_is_left_alone(umask, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o711)
    folders.make(tmp_path / "a/b")
    folders.make(tmp_path / "a")
    assert modes(tmp_path / "a/b", tmp_path) == [0o711, 0o755]


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(FileExistsError):
        folders.make(tmp_path / "a")


def test_a_model_root_four_levels_deep_can_be_passed(umask, tmp_path):
    root = tmp_path / "srv/data/ml/models"
    store = ModelStore(str(root), Attributes(os.geteuid(), os.getegid(), 0o755, 0o644), 0)
    store.ensure(str(root / "ranker"))
    assert modes(root / "ranker", tmp_path) == [0o755] * 5


def test_the_releases_can_be_passed(umask, tmp_path):
    with ReleaseStore(str(tmp_path / "opt/x/releases")).lock():
        assert modes(tmp_path / "opt/x/releases", tmp_path) == [0o755] * 3


def test_records_are_private_and_the_way_to_them_is_not(umask, tmp_path):
    with TreeStore(str(tmp_path / "lib/trees/t")).locked():
        assert modes(tmp_path / "lib/trees/t", tmp_path) == [0o755, 0o755, 0o700]


def test_the_directories_of_a_tree_have_their_modes(umask, tmp_path):
    place = Place(tmp_path)
    place.dest.chmod(0o755)
    place.present({"etc/app/deep/file": b"x"})
    assert modes(place.dest / "etc/app/deep", place.dest) == [0o755] * 3


def test_nobody_makes_parents_in_another_way():
    """makedirs leaves the mode of parents to the umask; what is private for its short life may do so."""
    allowed = {"archives.py", "release_registry.py"}
    found = {
        f"{path.name}: {line.strip()}"
        for path in [*(PLUGINS / "modules").glob("*.py"), *(PLUGINS / "module_utils").glob("*.py")]
        for line in path.read_text().splitlines()
        if re.search(r"\bmakedirs\(|parents=True", line) and path.name not in allowed
    }
    assert {entry for entry in found if "nowhere" not in entry and "``" not in entry} == set()
