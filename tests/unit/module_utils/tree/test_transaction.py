# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What template_tree promises of a change: all or nothing, the truth in check mode, a way back."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rule
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.point import plan_restored
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.tree import Tree
from hypothesis import given, settings
from hypothesis import strategies as st
from template_tree_place import Place, in_child, places

# No path is a parent of another, so that any choice of them can stand together.
PATHS = ("top", "etc/app.conf", "etc/app.d/10-one", "etc/app.d/20-two", "var/lib/x/data.bin", "lib/unit@.service")

# They change directories of others (etc), directories of the tree (var) and files.
RULES = (
    Rule("etc", directory_mode=0o711),
    Rule("var/**", mode=0o600, directory_mode=0o700),
    Rule("**/*.conf", mode=0o640),
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


trees = st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=40))
sabotage = st.integers(min_value=1, max_value=90)


def prepared(place: Place, foreign: dict[str, bytes], first: dict[str, bytes], edits: dict[str, bytes]) -> None:
    """A host with files of others, a tree on it, and edits by hand to some of all these files."""
    place.write(foreign, 0o640)
    place.present(first)
    place.write({path: content for path, content in edits.items() if path in foreign or path in first}, 0o604)


def everything(place: Place) -> tuple[dict[str, tuple], dict[str, bytes]]:
    """Prepare a change that has every kind of step; return what the host looks like and the tree to come."""
    place.write({"etc/app.conf": b"theirs", "etc/kept": b"kept"}, 0o640)
    (place.dest / "etc" / "link").symlink_to("kept")
    place.present({"etc/app.d/10-one": b"one", "var/old/file": b"old", "var/same": b"same"})
    before = place.seen()
    return before, {"etc/app.conf": b"ours", "etc/link": b"file", "new/deep/file": b"new", "var/same": b"same"}


def steps() -> Iterator[tuple[int, Place]]:
    """Count up for as long as the loop's body does not end it, each time with a fresh place."""
    for step in itertools.count(1):
        with places(1) as (place,):
            yield step, place


def test_a_failure_at_any_step_leaves_every_file_as_it_was():
    refusals = 0
    for step, place in steps():
        before, tree = everything(place)
        result = in_child(lambda place=place, tree=tree: place.present(tree, *RULES), step)
        if not isinstance(result, WishError):
            break
        refusals += 1
        assert place.seen() == before, step
        assert place.present({}, check=True, prune=False).recovered is False
    # Staging alone takes a folder for new and for old files beside each of the five folders.
    assert refusals > 30


def test_a_kill_at_any_step_is_undone_or_done_by_the_next_run():
    outcomes = []
    for step, place in steps():
        before, tree = everything(place)
        if in_child(lambda place=place, tree=tree: place.present(tree, *RULES), step, kill=True):
            break
        with place.tree().store.locked():
            place.tree().recover()
        outcomes.append(place.seen() == before)
        done = place.present(tree, *RULES)
        after = place.seen()
        place.present(tree, *RULES)
        assert (done.plan.empty, place.seen()) == (not outcomes[-1], after)
        assert {path: (place.dest / path).read_bytes() for path in tree} == tree
    # Undone up to one moment, done from then on: it is that rename which commits the change.
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {True, False}


def test_after_a_kill_at_any_step_check_mode_plans_what_the_run_then_does():
    for step, place in steps():
        _before, tree = everything(place)
        if in_child(lambda place=place, tree=tree: place.present(tree, *RULES), step, kill=True):
            break
        another = {"etc/app.conf": b"other", "etc/app.d/10-one": b"one", "new/deep/file": b"new"}
        told, done = place.present(another, check=True), place.present(another)
        assert (told.plan.changes, told.report, told.recovered) == (done.plan.changes, done.report, done.recovered), (
            step
        )


@pytest.mark.parametrize("later", [0, 9])
def test_what_others_write_after_a_kill_is_theirs_if_the_run_had_not_come_that_far(later):
    for step, place in steps():
        _before, tree = everything(place)
        if in_child(lambda place=place, tree=tree: place.present(tree, *RULES), step, kill=True):
            break
        untouched = [path for path in ("etc/app.conf", "etc/link", "new/deep/file") if not _is(place, path, tree[path])]
        if later:
            # A recovery that is itself killed while it clears away what was staged must not mislead the next one.
            in_child(lambda place=place: place.tree().recover(), later, kill=True)
        edited = {path: b"edited" for path in untouched}
        for path, content in edited.items():
            (place.root / "edit").write_bytes(content)
            (place.dest / path).parent.mkdir(parents=True, exist_ok=True)
            (place.root / "edit").rename(place.dest / path)
        with place.tree().store.locked():
            place.tree().recover()
        assert {path: (place.dest / path).read_bytes() for path in edited} == edited, step


def _is(place: Place, path: str, content: bytes) -> bool:
    return (place.dest / path).is_file() and (place.dest / path).read_bytes() == content


@settings(max_examples=30)
@given(trees, trees, trees, trees, sabotage)
def test_a_failing_call_leaves_every_file_as_it_was(foreign, first, edits, second, step):
    with places(2) as (sane, hurt):
        for place in (sane, hurt):
            prepared(place, foreign, first, edits)
        before = hurt.seen()
        sane.present(second, *RULES)
        result = in_child(lambda: hurt.present(second, *RULES), step)
        if isinstance(result, WishError):
            assert hurt.seen() == before
            assert not hurt.present({}, check=True, prune=False).recovered
        else:
            # The failure came after the last step, or while clearing up: then it is told and left to the next run.
            assert _files(hurt.seen()) == _files(sane.seen())
        hurt.present(second, *RULES)
        assert hurt.seen() == sane.seen()


@settings(max_examples=30)
@given(trees, trees, trees, trees, sabotage, sabotage)
def test_a_killed_run_is_undone_or_done_by_the_next(foreign, first, edits, second, step, later):
    with places(2) as (sane, hurt):
        for place in (sane, hurt):
            prepared(place, foreign, first, edits)
        before = hurt.seen()
        sane.present(second, *RULES)
        after = sane.seen()
        in_child(lambda: hurt.present(second, *RULES), step, kill=True)
        in_child(lambda: hurt.tree().recover(), later, kill=True)
        with hurt.tree().store.locked():
            hurt.tree().recover()
        assert hurt.seen() in (before, after)
        hurt.present(second, *RULES)
        assert hurt.seen() == after
        assert hurt.records() == sane.records()


@settings(max_examples=30)
@given(trees, trees, trees, trees, sabotage)
def test_check_mode_tells_what_the_run_then_does_even_after_a_kill(foreign, first, edits, second, step):
    with places(1) as (place,):
        prepared(place, foreign, first, edits)
        in_child(lambda: place.present(second, *RULES), step, kill=True)
        untouched = place.seen()
        told = place.present(second, *RULES, check=True)
        assert place.seen() == untouched
        done = place.present(second, *RULES)
        assert (told.report, told.changed, told.recovered) == (done.report, done.changed, done.recovered)
        again = place.present(second, *RULES)
        assert (again.changed, again.report["changed_files"], again.recovered) == (False, [], False)


@settings(max_examples=30)
@given(trees, trees, trees, trees, st.booleans())
def test_a_revert_brings_back_what_the_last_change_found(foreign, first, edits, second, prune):
    with places(1) as (place,):
        prepared(place, foreign, first, edits)
        before = place.seen()
        changed = place.present(second, *RULES, prune=prune).changed
        after = place.seen()
        told = place.reverted(check=True)
        assert place.seen() == after
        done = place.reverted()
        assert told.report == done.report
        if changed:
            assert place.seen() == before
            assert place.reverted().changed is False
            assert place.seen() == before


@settings(max_examples=30)
@given(trees, trees, trees, sabotage)
def test_a_revert_is_all_or_nothing_too(foreign, first, second, step):
    with places(1) as (place,):
        prepared(place, foreign, first, {})
        place.present(second, *RULES)
        before = place.seen()
        result = in_child(lambda: place.reverted(), step)
        if isinstance(result, WishError):
            assert place.seen() == before


@settings(max_examples=30)
@given(trees, trees)
def test_the_host_ends_up_with_the_very_bytes_and_absent_leaves_only_what_others_wrote(foreign, tree):
    with places(1) as (place,):
        place.write(foreign)
        before = place.seen()
        place.present(tree)
        assert {path: (place.dest / path).read_bytes() for path in tree} == tree
        assert place.present(tree).changed is False
        place.absent()
        kept = {path: seen for path, seen in before.items() if path not in tree or foreign.get(path) == tree[path]}
        left = {path for path in place.seen() if not (place.dest / path).is_dir()}
        assert left == {path for path in kept if not (place.dest / path).is_dir()}
        assert place.absent(check=True).changed is False


def _files(seen: dict[str, tuple]) -> dict[str, tuple]:
    """Without directories and what is staged."""
    return {path: what for path, what in seen.items() if what[0] != stat.S_IFDIR and "/.t-" not in f"/{path}"}


def test_a_write_that_does_not_fit_leaves_every_file_as_it_was(place):
    place.write({"etc/app.conf": b"old"})
    before = place.seen()

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        return place.present({"a": b"small", "etc/app.conf": b"new", "z": b"x" * 50_000})

    error = in_child(work)
    assert str(error) == f"{place.dest}/z: File too large; nothing was changed"
    assert place.seen() == before


def test_an_interrupt_at_the_keyboard_puts_everything_back(place):
    place.write({"etc/app.conf": b"old"})
    before = place.seen()

    def impatient(path, staged, secret):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.present({"etc/app.conf": b"new"}, validate=impatient)
    assert place.seen() == before
    assert os.listdir(place.state / "t") == []


def test_every_file_is_validated_under_its_own_name_before_the_first_is_replaced(place):
    place.write({"etc/a.service": b"old a", "etc/b.service": b"same"})
    looked = []

    def look(path, staged, secret):
        held = Path(staged)
        looked.append((path, held.name, held.read_bytes(), (place.dest / path).exists()))
        assert (place.dest / "etc/a.service").read_bytes() == b"old a"
        assert held.stat().st_dev == place.dest.stat().st_dev
        assert held.parent.stat().st_mode & 0o777 == 0o700

    place.present({"etc/a.service": b"new a", "etc/b.service": b"same", "new/c.timer": b"c"}, validate=look)
    assert looked == [("etc/a.service", "a.service", b"new a", True), ("new/c.timer", "c.timer", b"c", False)]


def test_a_refused_file_changes_nothing_and_the_error_says_so(place):
    place.write({"a": b"old"})
    before = place.seen()

    def refuse(path, staged, secret):
        if path == "b/c":
            raise WishError("/b/c", "is no good", "")

    with pytest.raises(WishError, match=r"^/b/c: is no good; nothing was changed$"):
        place.present({"a": b"new", "b/c": b"bad"}, validate=refuse)
    assert place.seen() == before


def test_a_killed_run_reports_its_paths_through_the_next_one(place):
    tree = {"etc/app.conf": b"new"}
    recovered = set()
    for step in itertools.count(1):
        shutil.rmtree(place.root)
        place = Place(place.root)
        if in_child(lambda place=place: place.present(tree), step, kill=True):
            break
        done = place.present(tree)
        assert (done.changed, done.report["created"]) == (True, [f"{place.dest}/etc/app.conf"])
        recovered.add(done.recovered)
    assert recovered == {False, True}


def test_a_failed_run_leaves_the_way_back_open(place):
    place.write({"a": b"theirs"})
    place.present({"a": b"ours"})

    def refuse(path, staged, secret):
        raise WishError(path, "is no good", "")

    with pytest.raises(WishError):
        place.present({"a": b"bad"}, validate=refuse)
    place.reverted()
    assert (place.dest / "a").read_bytes() == b"theirs"


def test_a_killed_run_is_reported_even_when_the_next_one_fails(place):
    def refuse(path, staged, secret):
        raise WishError(path, "is no good", "")

    def killed_while_clearing_up():
        store = place.tree().store
        store.advance("manifest.json", "committed.json")

    place.present({"a": b"1"})
    in_child(killed_while_clearing_up)
    with pytest.raises(WishError):
        place.present({"b": b"2"}, validate=refuse)
    done = place.present({"b": b"3"})
    assert (done.recovered, done.report["created"]) == (True, [f"{place.dest}/a", f"{place.dest}/b"])
    assert place.present({"b": b"3"}).changed is False


def test_a_second_run_at_the_same_time_is_refused(place):
    tree = place.tree()
    with tree.store.locked(), pytest.raises(WishError) as refusal:
        place.present({"a": b""})
    assert str(refusal.value) == f"{place.state}/t: another run is working on this tree; wait for it to end"


def test_records_are_readable_by_the_owner_alone_and_bear_a_schema(place):
    place.write({"a": b"secret"})
    place.present({"a": b"new secret"})
    place.present({"a": b"newer secret"})
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (place.state / "t").rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in place.state.rglob("*") if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})
    assert len(list((place.state / "t").iterdir())) == 2, "one manifest and the files of one change"
    manifest = json.loads((place.state / "t" / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert "secret" not in json.dumps(manifest)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is damaged; move it away; the tree's files stay as they are"),
        ('{"schema": 2}', "has schema 2, this release of the collection reads schema 1; run the release that wrote it"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_name(place, text, problem):
    place.present({"a": b""})
    path = place.state / "t" / "manifest.json"
    path.write_text(text)
    with pytest.raises(WishError) as refusal:
        place.present({"a": b"new"})
    assert str(refusal.value).startswith(f"{path}: {problem}")


def damages():
    """What may lie where a record of a tree should: bytes, or what makes something else of the path."""
    whole = {"schema": 1, "dest": "/d", "files": {}, "directories": [], "steps": {}}
    deep = '{"schema": 1, "steps": ' + "[" * 900 + "]" * 900 + "}"
    texts = ["", "null", "5", "[]", "[" * 100_000, deep, "9" * 10_000, '{"schema": 1}', '{"schema": [1]}']
    yield from texts
    yield from (json.dumps({**whole, "dest": name}) for name in ("\ud800", "a\0b"))
    yield json.dumps({**whole, "schema": float("inf")})
    yield "\xff"
    yield from (os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink(path, path))


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("phase", ["prepare", "journal", "committed", "manifest", "point"])
def test_whatever_lies_in_place_of_a_record_is_refused_by_name(place, phase, check):
    """A FIFO would be waited for and a device read for ever; a record without its parts ended in a traceback."""
    for damage in damages():
        path = place.state / "t" / f"{phase}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(damage):
            damage(str(path))
        else:
            path.write_bytes(damage.encode("latin-1") if damage == "\xff" else damage.encode())
        store = place.tree().store
        with pytest.raises(WishError) as refusal:
            place.tree().run(partial(plan_restored, store=store), lambda *_: None, check)
        assert re.fullmatch(f"{path}: (is damaged|cannot be read \\([^()]*\\)); move it away; .*", str(refusal.value))
        path.rmdir() if damage is os.mkdir else path.unlink()


PARTS = [
    *(("dest",), ("files",), ("directories",), ("previous",), ("previous", "files"), ("report",), ("revertable",)),
    *(("steps",), ("steps", "adjust"), ("steps", "changes", 0), ("steps", "changes", 0, "before")),
    *(("steps", "changes", 0, "before", "mode"), ("steps", "changes", 0, "path"), ("files", "a", "sha256")),
    *(("transaction",), ("report", "changed_by", "unit"), ("files", "a", "entries", "unit")),
]


@pytest.mark.parametrize("damage", [5, [[]], {"a": None}, "\ud800"])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: "-".join(map(str, part)))
def test_a_part_of_a_record_that_is_of_another_kind_is_damage(place, part, damage):
    place.write({"a": b"1"})
    place.present({"a": b"2"})
    path = place.state / "t" / "manifest.json"
    record = json.loads(path.read_text())
    assert place.tree().manifest() == record
    inner = record
    for name in part[:-1]:
        inner = inner[name]
    inner[part[-1]] = damage
    path.write_text(json.dumps(record))
    if (part[-1], damage) == ("sha256", "\ud800"):  # compared, and never used otherwise
        return
    with pytest.raises(WishError) as refusal:
        place.present({"a": b"3"})
    assert str(refusal.value) == f"{path}: is damaged; move it away; the tree's files stay as they are"


def test_a_tree_does_not_move_to_another_place(place):
    place.present({"a": b""})
    with pytest.raises(WishError) as refusal:
        Tree(str(place.state), "t", str(place.root)).manifest()
    assert str(refusal.value) == (
        f"{place.root}: the tree 't' is below {place.dest}; remove it there with state=absent or give this one "
        "another name"
    )
