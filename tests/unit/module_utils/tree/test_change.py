# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How template_tree treats what it finds on a host: leftovers, owners and modes, links and obstacles."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rule
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import rules
from template_tree_place import Place, in_child, look, places

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other accounts")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# Pruning


def test_files_that_left_the_tree_go_with_their_empty_directories_and_name_their_entry(place):
    place.write({"etc/app.d/foreign": b""})
    place.present({"etc/app.d/10-one": b"1", "ranker/deep/file": b"2", "ranker/other": b"3"})
    done = place.present({"etc/app.d/10-one": b"1"})
    assert done.report["removed"] == [f"{place.dest}/ranker/deep/file", f"{place.dest}/ranker/other"]
    assert done.report["changed_by"] == {"unit": {"ranker": done.report["removed"]}}
    assert set(place.seen()) == {"etc", "etc/app.d", "etc/app.d/10-one", "etc/app.d/foreign"}


def test_a_file_edited_by_hand_is_pruned_with_a_warning_and_comes_back_by_a_revert(place):
    place.present({"a": b"ours", "b": b"ours"})
    place.write({"a": b"theirs"}, 0o600)
    done = place.present({"b": b"ours"})
    assert done.warnings == [
        f"{place.dest}/a was edited on the host and leaves with the tree; state=reverted brings it back"
    ]
    place.reverted()
    assert (place.dest / "a").read_bytes() == b"theirs"
    assert stat.S_IMODE((place.dest / "a").stat().st_mode) == 0o600


def test_without_prune_a_file_stays_and_is_still_known_later(place):
    place.present({"a": b"", "b": b""})
    assert place.present({"b": b""}, prune=False).changed is False
    assert place.present({"b": b""}).report["removed"] == [f"{place.dest}/a"]


def test_a_file_that_was_right_before_the_tree_came_is_not_the_trees_to_remove(place):
    place.write({"a": b"same"})
    assert place.present({"a": b"same"}).changed is False
    assert place.absent().changed is False
    assert (place.dest / "a").exists()


def test_a_directory_in_place_of_a_pruned_file_is_left_alone(place):
    place.present({"a": b""})
    (place.dest / "a").unlink()
    (place.dest / "a").mkdir()
    assert place.absent().changed is False
    assert (place.dest / "a").is_dir()


# Attributes


def test_a_changed_mode_alone_counts_as_a_change(place):
    place.present({"a": b"x"})
    (place.dest / "a").chmod(0o666)
    done = place.present({"a": b"x"})
    assert done.report["changed_files"] == [f"{place.dest}/a"]
    assert stat.S_IMODE((place.dest / "a").stat().st_mode) == 0o644


def test_the_trees_own_directories_follow_the_rules_and_foreign_ones_only_by_their_very_path(place):
    (place.dest / "etc").mkdir(mode=0o711)
    (place.dest / "opt").mkdir(mode=0o711)
    rules = (Rule("**", directory_mode=0o750), Rule("opt", directory_mode=0o770))
    done = place.present({"etc/app/file": b"", "opt/file": b""}, *rules)
    modes = {name: stat.S_IMODE((place.dest / name).stat().st_mode) for name in ("etc", "etc/app", "opt")}
    assert modes == {"etc": 0o711, "etc/app": 0o750, "opt": 0o770}
    assert f"{place.dest}/opt" in done.report["changed_files"]
    assert place.present({"etc/app/file": b"", "opt/file": b""}, *rules).changed is False
    place.reverted()
    assert stat.S_IMODE((place.dest / "opt").stat().st_mode) == 0o711


@as_root
def test_owners_and_groups_are_set_and_reverted(place):
    place.write({"a": b"x"})
    place.present({"a": b"x", "d/b": b""}, Rule("**", uid=12, gid=34, mode=0o4750, directory_mode=0o2770))
    assert look(place.dest / "a")[1:4] == (0o4750, 12, 34)
    assert look(place.dest / "d")[1:4] == (0o2770, 12, 34)
    place.reverted()
    assert look(place.dest / "a")[1:4] == (0o644, 0, 0)


@as_root
def test_a_run_without_roots_rights_keeps_its_own_owner():
    with places(1) as (place,):
        place.root.parent.chmod(0o755)
        for folder in (place.root, place.dest):
            os.chown(folder, 65534, 65534)

        def work():
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            default = rules([])
            return default.uid, default.gid, place.present({"a/b": b"x"}).changed

        assert in_child(work) == (-1, -1, True)
        assert look(place.dest / "a" / "b")[2:4] == (65534, 65534)


def test_dest_itself_is_made_and_removed_again(tmp_path):
    place = Place(tmp_path)
    place.dest.rmdir()
    place.present({"a/b": b"x"})
    assert (place.dest / "a" / "b").read_bytes() == b"x"
    place.absent()
    assert not place.dest.exists()


# Links and other obstacles


def test_a_link_in_place_of_a_file_is_replaced_and_its_target_left_alone(place):
    place.write({"target": b"precious"})
    (place.dest / "a").symlink_to("target")
    place.present({"a": b"new"})
    assert not (place.dest / "a").is_symlink()
    assert (place.dest / "target").read_bytes() == b"precious"
    place.reverted()
    assert os.readlink(place.dest / "a") == "target"


def test_a_parent_that_the_system_linked_is_followed(place):
    (place.dest / "usr" / "lib").mkdir(parents=True)
    (place.dest / "lib").symlink_to("usr/lib")
    place.present({"lib/unit": b"x"})
    assert (place.dest / "usr" / "lib" / "unit").read_bytes() == b"x"
    place.absent()
    assert set(place.seen()) == {"lib", "usr", "usr/lib"}


def _refused(place: Place, tree: dict[str, bytes]) -> str:
    before = place.seen()
    with pytest.raises(WishError) as refusal:
        place.present(tree)
    assert place.seen() == before
    return str(refusal.value).replace(str(place.root), "")


NOT_FOLLOWED = (
    "/host/lib: is a link to {} that others than root could have placed, and is not followed; make it a real "
    "directory or write the files below its target"
)


@as_root
def test_a_parent_link_that_a_user_owns_is_refused(place):
    (place.dest / "real").mkdir()
    (place.dest / "lib").symlink_to("real")
    os.lchown(place.dest / "lib", 65534, 65534)
    assert _refused(place, {"lib/unit": b"x"}) == NOT_FOLLOWED.format("real")


def test_a_parent_link_in_a_directory_open_to_all_is_refused(place):
    (place.dest / "real").mkdir()
    (place.dest / "lib").symlink_to("real")
    place.dest.chmod(0o1777)
    assert _refused(place, {"lib/unit": b"x"}) == NOT_FOLLOWED.format("real")


@pytest.mark.parametrize("prefix", ["", "/host/"])
def test_a_parent_link_into_a_directory_open_to_all_is_refused(place, prefix):
    (place.dest / "open" / "below").mkdir(parents=True)
    (place.dest / "open").chmod(0o777)
    target = f"{place.root}{prefix}open/below" if prefix else "open/below"
    (place.dest / "lib").symlink_to(target)
    assert _refused(place, {"lib/unit": b"x"}) == NOT_FOLLOWED.format(f"{prefix}open/below")


def test_a_link_that_leads_nowhere_or_in_a_circle_is_refused(place):
    (place.dest / "lib").symlink_to("gone")
    (place.dest / "loop").symlink_to("loop")
    assert (
        _refused(place, {"lib/a": b""})
        == "/host/lib: is a link to gone, which does not exist; remove or repair the link"
    )
    assert "/host/loop: is a link to loop" in _refused(place, {"loop/a": b""})


def test_two_paths_that_are_one_file_on_the_host_are_refused(place):
    (place.dest / "usr" / "lib").mkdir(parents=True)
    (place.dest / "lib").symlink_to("usr/lib")
    assert _refused(place, {"lib/a": b"1", "usr/lib/a": b"2"}) == (
        "/host/usr/lib/a: is the same file as /host/lib/a on this host; keep one of the two templates"
    )


def test_whatever_stands_in_the_way_is_refused_by_name(place):
    (place.dest / "folder").mkdir()
    os.mkfifo(place.dest / "pipe")
    place.write({"file": b""})
    assert _refused(place, {"folder": b""}) == (
        "/host/folder: is a directory where the tree has a file; remove it or exclude the file"
    )
    assert _refused(place, {"pipe": b""}) == (
        "/host/pipe: is a device, socket or pipe where the tree has a file; remove it or exclude the file"
    )
    assert _refused(place, {"file/below": b""}) == (
        "/host/file: is not a directory; remove it or give the files below it another place"
    )
