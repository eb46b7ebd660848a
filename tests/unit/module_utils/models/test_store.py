# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The model repository on disk: how versions appear, stay and go, and which wishes cannot be granted."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Attributes, Store
from ansible_collections.tfserving.fleet.plugins.module_utils.models.wanted import (
    missing_versions,
    read_wanted,
    served,
    surplus,
    version_number,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors
from archive_files import read_tree, write_tree
from hypothesis import given
from hypothesis import strategies as st
from killed import run_until_killed
from saved_models import MODEL

SUM = "a" * 64
DIGITS = "give the 64 hexadecimal digits that sha256sum prints"


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(str(tmp_path / "models"))
    store.ensure(store.base("ranker"))
    return store


def publish(store: Store, version: int = 7, record: dict[str, str] | None = None) -> None:
    with store.staging("ranker", version) as place:
        tree = write_tree(Path(place, "tree"), MODEL)
        store.seal(str(tree))
        store.publish("ranker", version, str(tree), record or {"sha256": SUM})


# --- what the server finds -----------------------------------------------------------------------------------


def test_versions_are_the_directories_that_the_server_reads_as_numbers(store):
    base = Path(store.base("ranker"))
    for name in ("10", "9", "0", "007", "+5", " 3", "-1", "1.0", "0x4", "٣", ".staging-8-x", "latest"):
        (base / name).mkdir()
    for name in (str(2**63 - 1), str(2**63), "9" * 20, "0" * 100 + "12"):
        (base / name).mkdir()
    (base / "11").write_text("a file")
    assert store.versions("ranker") == [0, 3, 5, 7, 9, 10, 12, 2**63 - 1]
    assert store.place("ranker", 7) == str(base / "007")
    assert store.versions("unheard") == []


def test_a_version_with_zeros_before_its_number_is_adopted_and_removed_like_any_other(store):
    base = Path(store.base("ranker"))
    for name in ("00000123", "00000000"):
        write_tree(base / name, MODEL)
    assert missing(store, versions=[123]) == ([], [])
    store.remove("ranker", 123)
    store.remove("ranker", 0)
    assert store.versions("ranker") == []


def test_a_newer_version_with_zeros_before_its_number_is_refused(store):
    write_tree(Path(store.base("ranker"), "00000200"), MODEL)
    with pytest.raises(WishError, match="would serve version 200, which is on this host, and not the wanted 123"):
        missing(store, versions=[123], serve={"latest": 1})


def test_two_directories_of_one_version_are_refused(store):
    for name in ("7", "007"):
        write_tree(Path(store.base("ranker"), name), MODEL)
    with pytest.raises(WishError) as refusal:
        missing(store)
    assert str(refusal.value) == (
        f"tfserving_models[0].versions: version 7 lies twice in {store.base('ranker')}, as '007' and '7', "
        "and the server takes either; remove one of them"
    )


def test_a_file_that_the_server_takes_for_a_version_is_noted(store):
    path = Path(store.base("ranker"), "8")
    path.write_text("8")
    assert missing(store) == ([7], [f"ranker: the server takes the file {path} for a version; move it away"])


def test_a_published_version_is_whole_and_remembered(store):
    publish(store)
    assert read_tree(Path(store.base("ranker"), "7")) == MODEL
    assert store.marker("ranker", 7) == {"sha256": SUM}
    assert sorted(os.listdir(store.base("ranker"))) == [".published", "7"]


def test_a_published_version_can_be_read_by_all_and_written_by_its_owner_alone(store):
    publish(store)
    for path in Path(store.base("ranker"), "7").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owners_and_modes_are_those_asked_for(tmp_path):
    store = Store(str(tmp_path), Attributes(12, 34, 0o750, 0o640))
    store.ensure(store.base("ranker"))
    publish(store)
    found = [path.stat() for path in Path(store.base("ranker")).rglob("*")]
    assert {(one.st_uid, one.st_gid) for one in found} == {(12, 34)}
    assert {stat.S_IMODE(one.st_mode) for one in found} == {0o750, 0o640}


def test_a_version_that_appeared_meanwhile_is_not_replaced_even_if_empty(store):
    os.mkdir(os.path.join(store.base("ranker"), "7"))
    with pytest.raises(RefusalError, match=r"ranker/7 has appeared meanwhile; run again"):
        publish(store)
    assert os.listdir(os.path.join(store.base("ranker"), "7")) == []


def test_a_version_that_cannot_be_put_in_place_leaves_no_marker(store, monkeypatch):
    real = os.rename

    def rename(source, target):
        if target.endswith("/7"):
            raise OSError(errno.EIO, "Input/output error", target)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="Input/output error"):
        publish(store)
    assert store.versions("ranker") == []
    assert store.marker("ranker", 7) == {}


def test_a_removed_version_leaves_nothing(store):
    publish(store, 6)
    publish(store, 7)
    store.remove("ranker", 6)
    assert sorted(os.listdir(store.base("ranker"))) == [".published", "7"]
    assert store.marker("ranker", 6) == {}


def test_a_version_without_end_ends_in_no_traceback(store):
    base = Path(store.base("ranker"))
    subprocess.run(["mkdir", "-p", base / "3" / "/".join(["d"] * 1500)], check=True)
    with pytest.raises(WishError) as refusal:
        missing(store, versions=[3])
    assert "its links lead in a circle, or it holds far more than a SavedModel" in str(refusal.value)
    # Newer releases of Python delete without recursion.
    with suppress(WishError):
        store.remove("ranker", 3)
    assert store.versions("ranker") == []
    subprocess.run(["rm", "-rf", base], check=True)


def test_removing_a_linked_version_spares_what_it_points_to(store, tmp_path):
    elsewhere = write_tree(tmp_path / "elsewhere", MODEL)
    os.symlink(elsewhere, os.path.join(store.base("ranker"), "3"))
    store.remove("ranker", 3)
    assert store.versions("ranker") == []
    assert read_tree(elsewhere) == MODEL


@pytest.mark.parametrize("content", ["{", "null", "[" * 100_000, '{"proven": NaN}'])
def test_a_marker_that_cannot_be_read_counts_as_none(store, content):
    publish(store)
    Path(store.base("ranker"), ".published", "7.json").write_text(content)
    assert store.marker("ranker", 7) == {}


def test_a_marker_that_is_no_file_is_not_waited_for(store):
    publish(store)
    path = Path(store.base("ranker"), ".published", "7.json")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="it is no file"):
        store.marker("ranker", 7)


def test_a_second_run_is_refused_and_the_lock_goes_with_its_holder(store):
    with store.lock(), pytest.raises(RefusalError) as refusal, store.lock():
        pass
    assert str(refusal.value) == f"another run is publishing models in {store.root}; wait for its end, then run again"
    with store.lock():
        pass


# --- sudden death --------------------------------------------------------------------------------------------


def test_wherever_a_run_dies_a_version_is_whole_or_not_there_and_the_next_run_succeeds(tmp_path):
    at = 0
    died = True
    while died:
        at += 1
        store = Store(str(tmp_path / str(at)))
        store.ensure(store.base("ranker"))
        died = run_until_killed(lambda store=store: publish(store), at)
        if store.versions("ranker"):
            assert read_tree(Path(store.base("ranker"), "7")) == MODEL
            assert store.marker("ranker", 7) == {"sha256": SUM}
        for path in store.leftovers("ranker"):
            store.discard(path)
        if not store.versions("ranker"):
            publish(store)
        assert sorted(os.listdir(store.base("ranker"))) == [".published", "7"]
    assert at > 20


def test_wherever_a_removal_dies_the_version_is_whole_or_gone(tmp_path):
    at = 0
    died = True
    while died:
        at += 1
        store = Store(str(tmp_path / str(at)))
        store.ensure(store.base("ranker"))
        publish(store)
        died = run_until_killed(lambda store=store: store.remove("ranker", 7), at)
        if store.versions("ranker"):
            assert read_tree(Path(store.base("ranker"), "7")) == MODEL
        for path in store.leftovers("ranker"):
            store.discard(path)
        gone = not store.versions("ranker")
        assert (store.marker("ranker", 7) == {}) == gone
    assert gone


# --- what may go ---------------------------------------------------------------------------------------------

VERSIONS = st.sets(st.integers(1, 30))


@given(VERSIONS, st.integers(1, 10), VERSIONS)
def test_only_old_and_unprotected_versions_are_surplus(on_disk, keep, protected):
    gone = surplus(on_disk, keep, protected)
    assert not set(gone) & protected
    left = on_disk - set(gone)
    assert sorted(left)[-keep:] == sorted(on_disk)[-keep:]
    assert len(left - protected) <= keep


def test_without_keep_nothing_is_surplus():
    assert surplus(range(1, 100), None, ()) == []


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        ({"latest": 2}, {8, 9}),
        ({}, {9}),
        ({"all": True}, {5, 8, 9}),
        ({"versions": [5, 6], "labels": {"canary": 8}}, {5, 8}),
    ],
)
def test_a_policy_names_versions(serve, expected):
    assert served(serve, [5, 8, 9]) == expected


# --- wishes --------------------------------------------------------------------------------------------------


def model(**changes: object) -> dict[str, object]:
    source = {"type": "path", "uri": "/exports/ranker", "remote": True, **changes.pop("source", {})}
    changes.pop("instances", None)
    return {"name": "ranker", "versions": [7], "source": source, **changes}


WRONG = [
    (model(versions=[0]), ".versions: 0 is not a version; use a whole number from 1, without leading zeros"),
    (model(versions=[-7]), ".versions: -7 is not a version; use a whole number from 1, without leading zeros"),
    (model(versions=["007"]), ".versions: '007' is not a version; use a whole number from 1, without leading zeros"),
    (model(versions=[True]), ".versions: True is not a version; use a whole number from 1, without leading zeros"),
    (model(versions=[7.0]), ".versions: 7.0 is not a version; use a whole number from 1, without leading zeros"),
    (
        model(versions=[2**63]),
        ".versions: 9223372036854775808 is not a version; use a whole number from 1, without leading zeros",
    ),
    (model(name="../x"), ".name: '../x' cannot be a directory; use letters, digits, '_', '-' and '.'"),
    (model(name=".lock"), ".name: '.lock' cannot be a directory; use letters, digits, '_', '-' and '.'"),
    (model(keep=0), ".keep: 0 would leave no version; keep at least 1"),
    (
        model(source={"uri": "exports"}),
        ".source.uri: is not an absolute path; a path on the host begins with /",
    ),
    (
        model(source={"type": "http", "uri": "file:///etc/passwd"}),
        ".source.uri: is not a web address; begin it with https://HOST/ or http://HOST/",
    ),
    (model(source={"sha256": "abc"}), f".source.sha256: is the string 'abc'; {DIGITS}"),
    (model(source={"sha256": {"7": "x"}}), f".source.sha256: is the string 'x'; {DIGITS}"),
    (
        model(versions=[6, 7], source={"uri": "/x/{version}", "sha256": SUM}),
        ".source.sha256: one checksum cannot be that of 6 and 7; map versions to checksums",
    ),
]


@pytest.mark.parametrize(("wish", "message"), WRONG, ids=[message for _wish, message in WRONG])
def test_a_wish_that_makes_no_sense_is_refused_with_its_place(wish, message):
    with pytest.raises(WishErrors) as refusal:
        read_wanted([wish], [])
    assert str(refusal.value) == f"tfserving_models[0]{message}"


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(WishErrors) as refusal:
        read_wanted([model(), model()], [])
    assert str(refusal.value) == "tfserving_models[1].name: ranker is listed twice; merge the two, or rename one"


def test_all_that_is_wrong_is_told_at_once_under_the_users_own_paths():
    with pytest.raises(WishErrors) as refusal:
        read_wanted([model(keep=0), model(name="/", path="models.slash")], [])
    assert [error.path for error in refusal.value.errors] == ["tfserving_models[0].keep", "models.slash.name"]


def test_digits_in_a_string_are_a_version():
    assert version_number("7", "version") == 7


def test_the_servers_to_ask_are_those_of_the_instances_that_serve_the_model():
    instances = [
        {"name": "a", "models": ["ranker", "other"], "ports": {"grpc": 8500, "rest": 8501}},
        {"name": "b", "models": ["other"], "ports": {"grpc": 8510, "rest": 8511}},
        {"name": "c", "models": ["ranker"], "ports": {"grpc": 8520}},
    ]
    assert read_wanted([model()], instances)[0].ports == (8501, None)


def test_checksums_belong_to_the_versions_they_are_written_for():
    (wanted,) = read_wanted([model(versions=[6, 7], provided=[7], source={"sha256": SUM.upper()})], [])
    assert [wanted.checksum(version) for version in (6, 7)] == [None, SUM]
    (wanted,) = read_wanted([model(versions=[6, 7], source={"uri": "/x/{version}", "sha256": {6: SUM}})], [])
    assert [wanted.checksum(version) for version in (6, 7)] == [SUM, None]


def missing(store: Store, **changes: object) -> tuple[list[int], list[str]]:
    (wanted,) = read_wanted([model(**changes)], changes.pop("instances", []))
    requests, notes = missing_versions(wanted, store, lambda _model: set(), lambda request: bool(request.sha256))
    return [request.version for request in requests], notes


def test_versions_on_disk_need_no_source(store):
    publish(store, 6)
    assert missing(store, versions=[6, 7], provided=[7]) == ([7], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"provided": [7], "serve": {"versions": [6, 7]}},
            "tfserving_models[0].serve.versions: version 6 is not on this host and the source provides only version 7; "
            "put {version} where the version stands in it (source.uri), or publish 6 first",
        ),
        (
            {},
            "tfserving_models[0].versions: version 6 is not on this host and the source provides one unnamed version; "
            "put {version} where the version stands in it (source.uri), or publish 6 first",
        ),
    ],
)
def test_a_version_that_no_source_provides_is_refused(store, changes, message):
    with pytest.raises(WishError) as refusal:
        missing(store, versions=[6, 7], **changes)
    assert str(refusal.value) == message


def test_another_checksum_under_a_published_number_is_refused(store):
    publish(store, 7, {"sha256": SUM, "tree": "b" * 64})
    assert missing(store, source={"sha256": SUM}) == ([], [])
    assert missing(store, source={"sha256": "b" * 64}) == ([], [])
    store.prove("ranker", 7)
    with pytest.raises(WishError) as refusal:
        missing(store, source={"sha256": "c" * 64})
    assert str(refusal.value) == (
        "tfserving_models[0].source.sha256: version 7 is already published with another checksum; "
        "versions are immutable, publish as a new version number"
    )


def test_a_version_put_there_by_hand_is_adopted_with_a_note_where_its_checksum_is_wished(store):
    write_tree(Path(store.base("ranker"), "7"), MODEL)
    assert missing(store) == ([], [])
    note = "ranker: version 7 was put there by hand, its checksum is not compared"
    assert missing(store, source={"sha256": SUM}) == ([], [note])


def test_a_version_put_there_by_hand_may_consist_of_links(store, tmp_path):
    elsewhere = write_tree(tmp_path / "elsewhere", MODEL)
    os.mkdir(os.path.join(store.base("ranker"), "7"))
    for name in ("saved_model.pb", "variables"):
        os.symlink(elsewhere / name, os.path.join(store.base("ranker"), "7", name))
    assert missing(store) == ([], [])


def test_links_that_lead_in_circles_and_pipes_are_refused_and_not_waited_for(store):
    place = write_tree(Path(store.base("ranker"), "7"), MODEL)
    words = "tfserving_models[0].versions: version 7 was put on this host by hand and cannot be served: "
    for name in ("a", "b"):
        os.symlink(".", place / name)
    with pytest.raises(WishError) as refusal:
        missing(store)
    assert str(refusal.value).startswith(f"{words}its links lead in a circle, or it holds far more than a SavedModel; ")
    os.unlink(place / "a")
    os.unlink(place / "b")
    for name in ("variables/variables.index", "saved_model.pb"):
        os.unlink(place / name)
        os.mkfifo(place / name)
        with pytest.raises(WishError) as refusal:
            missing(store)
        assert str(refusal.value).startswith(words)


def test_half_a_version_put_there_by_hand_is_refused(store):
    place = write_tree(Path(store.base("ranker"), "7"), {"saved_model.pb": MODEL["saved_model.pb"]})
    with pytest.raises(WishError) as refusal:
        missing(store)
    assert str(refusal.value) == (
        "tfserving_models[0].versions: version 7 was put on this host by hand and cannot be served: "
        f"its graph has variables and variables/variables.index is missing; complete or remove {place}"
    )


def test_a_version_that_never_served_makes_way_for_another_checksum(store):
    publish(store, 7, {"sha256": SUM, "tree": "b" * 64})
    note = "ranker: version 7 has never served and its source has other content; it is replaced"
    assert missing(store, source={"sha256": "c" * 64}) == ([7], [note])


def test_a_newer_version_that_would_be_served_instead_of_the_wanted_one_is_refused(store):
    publish(store, 7)
    publish(store, 9)
    with pytest.raises(WishError) as refused:
        missing(store, serve={"latest": 1})
    assert str(refused.value).partition(": ")[0].endswith(".serve.latest")
    assert str(refused.value).partition(": ")[2] == (
        "would serve version 9, which is on this host, and not the wanted 7;"
        " write serve: {versions: [7]}, or remove 9 from ranker in the model root"
    )
    assert missing(store, serve={"versions": [7]})[1] == missing(store, serve={"latest": 2})[1] == []
