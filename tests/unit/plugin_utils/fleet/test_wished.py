# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Digests of wishes and of the collection: equal for what is equal, and none for what cannot be told."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import wished
from hypothesis import given
from hypothesis import strategies as st

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Wish:
    name: str
    golden: str = ""


@given(PLAIN, PLAIN)
def test_wishes_that_differ_have_other_digests(one, other):
    assert (wished.wishes(one) == wished.wishes(other)) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value):
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def test_the_order_of_names_and_the_source_of_a_value_do_not_count():
    assert wished.wishes({"a": "x", "b": [1]}) == wished.wishes({"b": [1], "a": wrap_var("x")})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"port": 8500}, {"port": "8500"}),
        ({"secret": "a"}, {"secret": "b"}),
        ({"m": Wish("m", "one")}, {"m": Wish("m", "two")}),
        ([Wish("a"), Wish("b")], [Wish("b"), Wish("a")]),
        (b"a", b"b"),
        ({1, 2}, {1, 3}),
    ],
)
def test_each_part_of_a_wish_counts(one, other):
    assert wished.wishes(one) == wished.wishes(one)
    assert "" != wished.wishes(one) != wished.wishes(other) != ""


@pytest.mark.parametrize("value", [object(), {"a": {"b": object()}}, lambda: 1, Wish])
def test_an_object_that_may_hide_a_part_has_no_digest(value):
    assert wished.wishes({"a": 1}, value) == ""


def test_a_wish_that_contains_itself_has_no_digest():
    endless = []
    endless.append(endless)
    assert wished.wishes(endless) == ""


def test_how_a_run_goes_about_it_is_no_part_of_what_a_host_is_to_be():
    values = {"fleet_serial": 1, "fleet_break_lock": "a", "tfserving_instances": [], "kernel_tuning_thp": "never"}
    assert wished.of_hosts(values) == {"tfserving_instances": [], "kernel_tuning_thp": "never"}


@pytest.fixture
def collection(tmp_path):
    for path in ("plugins/modules/a.py", "roles/r/templates/b.j2", "playbooks/site.yml", "docs/d.md"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "galaxy.yml").write_text("version: 1.0.0\n")
    return tmp_path


def digest(root):
    return wished.collection.__wrapped__(root)


def test_a_collection_that_is_read_again_has_the_same_digest(collection):
    assert digest(collection) == digest(collection)


@pytest.mark.parametrize("path", ["plugins/modules/a.py", "roles/r/templates/b.j2", "playbooks/site.yml", "galaxy.yml"])
def test_each_file_that_a_run_reads_counts(collection, path):
    before = digest(collection)
    (collection / path).write_text("version: 1.0.1\n")
    assert digest(collection) != before


def test_files_that_come_are_renamed_or_may_be_run_count(collection):
    found = {digest(collection)}
    (collection / "roles/r/templates/c.j2").write_text("")
    found.add(digest(collection))
    (collection / "roles/r/templates/c.j2").rename(collection / "roles/r/templates/d.j2")
    found.add(digest(collection))
    os.chmod(collection / "roles/r/templates/d.j2", 0o755)
    found.add(digest(collection))
    assert len(found) == 4


def test_what_no_run_reads_does_not_count(collection):
    before = digest(collection)
    (collection / "docs/d.md").write_text("other")
    (collection / "plugins/modules/__pycache__").mkdir()
    (collection / "plugins/modules/__pycache__/a.cpython-311.pyc").write_text("x")
    assert digest(collection) == before


@pytest.mark.parametrize("text", ["Ansible managed: {file} on {host}", "written at %Y-%m-%d"])
def test_a_header_with_times_of_the_controllers_files_is_no_wish(monkeypatch, text):
    monkeypatch.setattr(wished.constants.config, "get_config_value", lambda _name: text)
    assert wished.managed(None) is None
    assert wished.managed("ours") == "ours"


def test_the_header_of_ansible_itself_is_the_same_everywhere():
    assert wished.managed(None) == "Ansible managed"
