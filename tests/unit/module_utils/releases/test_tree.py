# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where paths in a tree lead, and what C library it holds."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import tree as release_tree
from release_images import LIBC


def test_links_are_followed_as_inside_the_tree(tmp_path):
    (tmp_path / "usr").mkdir()
    for name, target in {"lib": "/usr", "up": "../../..", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
    assert release_tree.inside(str(tmp_path), "/lib/../lib/x") == f"{tmp_path}/usr/x"
    assert release_tree.inside(str(tmp_path), "up/etc/passwd") == f"{tmp_path}/etc/passwd"
    with pytest.raises(OSError, match="symbolic links"):
        release_tree.inside(str(tmp_path), "loop")


@pytest.mark.parametrize(
    ("name", "content", "version"),
    [
        ("lib/x86_64-linux-gnu/libc.so.6", LIBC, "2.35"),
        ("usr/lib64/libc.so.6", LIBC, "2.35"),
        ("lib/ld-musl-x86_64.so.1", b"musl", ""),
    ],
)
def test_the_c_library_of_a_tree_is_found(tmp_path, name, content, version):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(content)
    assert release_tree.glibc(str(tmp_path), "amd64") == version


def test_a_pipe_in_place_of_the_c_library_is_not_waited_for(tmp_path):
    (tmp_path / "lib64").mkdir()
    os.mkfifo(tmp_path / "lib64" / "libc.so.6")
    assert release_tree.glibc(str(tmp_path), "amd64") == ""


def test_the_c_library_may_tell_its_version_by_its_name_alone(tmp_path):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libc-2.31.so").write_bytes(b"stripped")
    (tmp_path / "lib64" / "libc.so.6").symlink_to("libc-2.31.so")
    assert release_tree.glibc(str(tmp_path), "amd64") == "2.31"
