# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What models and releases have in common: one run at a time, a rename each way, and nothing left of a killed run."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import store as disk_store
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.store import Store
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store as Models
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.store import Store as Releases
from killed import run_until_killed

BUSY = {
    Models: "another run is publishing models in {root}; wait for its end, then run again",
    Releases: "{root}: another run is working on the releases of this host; wait for its end, then run again",
}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def staged(store, path):
    with store.stage(path) as place:
        os.mkdir(f"{place}/tree")
        with open(f"{place}/tree/file", "w", encoding="ascii") as file:
            file.write("whole")
        store.reveal(f"{place}/tree", path)


@pytest.mark.parametrize("kind", BUSY, ids=["models", "releases"])
def test_a_second_run_is_refused_in_the_words_of_each_store(root, kind):
    store = kind(str(root))
    with store.lock(), pytest.raises((WishError, RefusalError)) as refusal, store.lock():
        pass
    assert str(refusal.value) == BUSY[kind].format(root=root)
    with store.lock():
        assert (root / ".lock").exists()


@pytest.mark.parametrize("kind", BUSY, ids=["models", "releases"])
def test_a_patient_run_waits_for_the_one_before_it(root, kind, monkeypatch):
    store, first = kind(str(root)), kind(str(root)).lock()
    first.__enter__()
    monkeypatch.setattr(disk_store.time, "sleep", lambda _pause: first.__exit__(None, None, None))
    with store.lock(patience_s=3600):
        pass


def appear(store, path):
    staged(store, path)


def go(store, path):
    store.discard(store.withdraw(path))


@pytest.mark.parametrize(("work", "before", "after"), [(appear, [], ["7"]), (go, ["7"], [])])
def test_wherever_a_run_is_killed_all_is_to_be_seen_or_nothing_and_the_next_one_sweeps(root, work, before, after):
    store, path = Store(str(root)), str(root / "7")
    root.mkdir()
    at, killed = 1, True
    while killed:
        for name in os.listdir(root):
            store.discard(str(root / name))
        if before:
            staged(store, path)
        killed = run_until_killed(lambda: work(store, path), at)
        for left in store.unfinished(str(root)):
            store.discard(left)
        assert os.listdir(root) in (before, after)
        assert not os.path.exists(path) or (root / "7/file").read_text() == "whole"
        at += 1
    assert os.listdir(root) == after
    assert at > 3, "killed before each of its calls"


def test_a_link_goes_and_what_it_points_to_stays(root):
    root.mkdir()
    (root / "kept").mkdir()
    (root / "7").symlink_to(root / "kept")
    store = Store(str(root))
    store.discard(store.withdraw(str(root / "7")))
    assert os.listdir(root) == ["kept"]


def test_a_tree_that_is_too_deep_to_walk_is_refused_by_name(root, monkeypatch):
    root.mkdir()

    def deep(_path):
        raise RecursionError

    monkeypatch.setattr(disk_store.shutil, "rmtree", deep)
    with pytest.raises(WishError) as refusal:
        Store(str(root)).discard(str(root))
    assert str(refusal.value) == f"{root}: has too many directories within each other; remove it by hand"
