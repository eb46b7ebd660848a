# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The way back to the last proven state: over several changes, over a killed run, and past what is to stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree import point as atomic_tree_point
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rendered, Rules, plan_tree
from template_tree_place import Place, in_child, places


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def accept(path, staged, secret):
    return None


def change(place, files, validate=accept):
    """Lay files down as a change that nobody has proven; the first part of a path is the entry it belongs to."""
    wanted = {path: Rendered(content, path, {"instance": path.split("/")[0]}) for path, content in files.items()}
    return place.tree().run(
        lambda host, manifest: plan_tree(host, wanted, Rules(), manifest, True), validate, unproven=True
    )


def restore(place, keep=None):
    tree = place.tree()
    return tree.run(
        lambda host, manifest: atomic_tree_point.plan_restored(host, manifest, tree.store, keep=keep), accept
    )


def prove(place):
    atomic_tree_point.close(place.tree().store)


def test_all_changes_since_the_proof_are_taken_back_at_once(place):
    change(place, {"a/x": b"1", "b/x": b"1", "b/y": b"1"})
    prove(place)
    proven = place.seen()
    change(place, {"a/x": b"2", "b/x": b"1", "c/new": b"2"})
    change(place, {"a/x": b"3", "c/new": b"3", "d/deep/new": b"3"})
    change(place, {"a/x": b"4"})
    restore(place)
    assert place.seen() == proven
    assert not change(place, {"a/x": b"1", "b/x": b"1", "b/y": b"1"}).changed


def test_a_file_of_others_that_the_tree_replaced_comes_back(place):
    place.write({"a/x": b"theirs"}, 0o640)
    before = place.seen()
    change(place, {"a/x": b"ours"})
    change(place, {"a/x": b"ours again", "a/y": b"more"})
    restore(place)
    assert place.seen() == before


def test_what_is_proven_is_not_taken_back(place):
    change(place, {"a/x": b"1"})
    prove(place)
    assert not restore(place).changed
    assert (place.dest / "a/x").read_bytes() == b"1"


def test_without_any_change_there_is_nothing_to_take_back(place):
    assert not restore(place).changed


def test_a_refused_change_opens_no_point(place):
    change(place, {"a/x": b"1"})
    prove(place)

    def refuse(path, staged, secret):
        raise WishError(path, "is refused", "")

    with pytest.raises(WishError):
        change(place, {"a/x": b"2"}, refuse)
    change(place, {"a/x": b"3"})
    restore(place)
    assert (place.dest / "a/x").read_bytes() == b"1"


def test_an_entry_that_is_kept_stays_as_it_is_and_stays_the_trees(place):
    change(place, {"a/x": b"1", "b/x": b"1"})
    prove(place)
    change(place, {"a/x": b"2", "a/new/y": b"2", "b/x": b"2", "b/new/y": b"2"})
    restore(place, {"instance": ["a"]})
    assert (place.dest / "a/x").read_bytes() == b"2"
    assert (place.dest / "b/x").read_bytes() == b"1"
    assert not (place.dest / "b/new").exists()
    prove(place)
    change(place, {"b/x": b"1"})
    assert not (place.dest / "a").exists()


def test_what_is_noted_first_stands_until_the_point_is_closed(place):
    change(place, {"a/x": b"1"})
    store = place.tree().store
    assert atomic_tree_point.note(store, "served", ["a"]) == ["a"]
    change(place, {"a/x": b"2"})
    assert atomic_tree_point.note(store, "served", []) == ["a"]
    prove(place)
    assert atomic_tree_point.note(store, "served", []) == []


def test_a_run_that_was_killed_anywhere_is_taken_back_by_the_next(place):
    """Whatever call that writes is the last one, the files are in the end as they were when they were proven."""
    for step in range(1, 120):
        with places(1) as (victim,):
            change(victim, {"a/x": b"1", "b/x": b"1"})
            prove(victim)
            proven = victim.seen()
            change(victim, {"a/x": b"2", "c/x": b"2"})
            ended = in_child(lambda place=victim: change(place, {"a/x": b"3", "d/x": b"3"}).changed, step, kill=True)
            restore(victim)
            assert victim.seen() == proven, step
        if ended:
            return
    raise AssertionError("the change never came to its end")


def test_what_another_hand_wrote_beside_the_tree_is_taken_back_with_it(place):
    place.write({"keys/old": b"theirs"}, 0o640)
    before = place.seen()
    place.tree().remember("keys/old")
    place.tree().remember("keys/new")
    place.write({"keys/old": b"ours", "keys/new": b"ours"})
    place.tree().remember("keys/old")
    change(place, {"a/x": b"1"})
    assert place.tree().unproven()
    restore(place)
    assert place.seen() == before


def test_what_has_been_proven_or_brought_back_is_forgotten(place):
    place.tree().remember("key")
    place.write({"key": b"ours"})
    place.tree().prove()
    assert not place.tree().unproven()
    assert not restore(place).changed
    place.tree().prove()
    assert (place.dest / "key").read_bytes() == b"ours"
