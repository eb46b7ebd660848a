# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which paths a tree of templates makes, and trees that make none."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.templates.destinations import check_expand, destinations

SAFE = "use letters, digits and _ . -, a letter or digit first"


def _tree(root: Path, *paths: str) -> str:
    for path in paths:
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text("")
    return str(root)


def test_a_placeholder_stands_once_for_each_entry(tmp_path):
    root = _tree(tmp_path, "etc/{instance}/{model}.conf.j2", "etc/plain.j2", "etc/left.out", "skip/me")
    expand = {"instance": [{"name": "a"}, {"name": "b"}], "model": [{"name": "m", "x": 1}]}
    found = destinations(root, expand, ["*/left.out", "skip/**"])
    assert {path: source for path, (source, _entries) in found.items()} == {
        "etc/a/m.conf": "etc/{instance}/{model}.conf.j2",
        "etc/b/m.conf": "etc/{instance}/{model}.conf.j2",
        "etc/plain": "etc/plain.j2",
    }
    assert found["etc/b/m.conf"][1] == {"instance": {"name": "b"}, "model": {"name": "m", "x": 1}}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a", "a.j2"], "a.j2: makes a, as does a; keep one of the two"),
        (["{instance}.j2", "one.j2"], "{instance}.j2: makes one, as does one.j2; keep one of the two"),
        (["a.j2", "a/b"], "a.j2: makes the file a, which other templates need as a directory; rename it"),
        (["{instanc}/a"], "{instanc}/a: 'expand' says nothing of {instanc}; did you mean 'instance'?"),
        (["{other}/a"], "{other}/a: 'expand' says nothing of {other}; add it there or rename the file"),
    ],
)
def test_templates_that_contradict_each_other_are_refused(tmp_path, paths, message):
    with pytest.raises(WishError) as refusal:
        destinations(_tree(tmp_path, *reversed(paths)), {"instance": [{"name": "one"}]}, [])
    assert str(refusal.value) == message


def test_links_to_directories_and_odd_files_in_a_tree_are_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(WishError, match="link: is a link to a directory, which a tree does not follow; make it a dir"):
        destinations(str(tmp_path), {}, [])
    (tmp_path / "link").unlink()
    (tmp_path / "dead").symlink_to("nowhere")
    with pytest.raises(WishError, match="dead: is neither a file nor a link to one; remove it from the tree"):
        destinations(str(tmp_path), {}, [])


@pytest.mark.parametrize("name", ["", "..", ".hidden", "-x", "a/b", "a b", "ä", "a\n", 7])
def test_a_name_that_is_unsafe_in_a_path_is_refused(name):
    with pytest.raises(WishError) as refusal:
        check_expand({"instance": [{"name": "fine-1.0_x"}, {"name": name}]})
    assert refusal.value.path == "expand.instance[1].name"
    assert str(refusal.value).endswith(f"cannot be part of a path; {SAFE}")


@pytest.mark.parametrize(
    ("expand", "message"),
    [
        ({"a-b": []}, "expand.a-b: is not the name of a variable; use letters, digits and _"),
        ({"a": {"name": "x"}}, "expand.a: is a mapping; give a list of mappings, each with a name"),
        (
            {"a": ["x"]},
            f"expand.a[0].name: is missing; {SAFE}",
        ),
        ({"a": [{"name": "x"}, {"name": "x"}]}, "expand.a[1].name: 'x' is there twice; rename one of the two"),
    ],
)
def test_expand_of_another_shape_is_refused(expand, message):
    with pytest.raises(WishError) as refusal:
        check_expand(expand)
    assert str(refusal.value) == message
