# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller sends to a host, and what it refuses to send."""

from __future__ import annotations

import errno
import hashlib
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import manifest as manifests
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors, sentences
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.check import Demands
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import parcels
from archive_files import tar_of, write_tree
from saved_models import FLOAT, MODEL, model_pb


@pytest.fixture
def export(tmp_path):
    return write_tree(tmp_path / "export", MODEL)


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return str(tmp_path / "cache")


def need(uri: object, key: str = "ranker/7", **changes: object) -> dict[str, object]:
    """Return what a host lacks, as the module says it."""
    plain = {"key": key, "uri": str(uri), "sha256": None, "where": "tfserving_models[0]", "published": []}
    plain["incoming"] = ""
    return {**plain, "demands": Demands().plain(), **changes}


class Here:
    """Versions that are where their needs say."""

    def told(self, need):
        return f"{need['uri']} on the controller"

    def place(self, need):
        return need["uri"], need.get("known", "")


def of_needs(*needs: dict[str, object], cache: str, pack: bool = True):
    return parcels.of_needs(needs, Here(), cache, pack)


def refused(*needs: dict[str, object], cache: str) -> list[str]:
    with pytest.raises(WishErrors) as refusal:
        of_needs(*needs, cache=cache)
    return sentences(refusal.value)


def test_a_directory_is_packed_once_for_all_hosts_until_it_changes(tmp_path):
    source = write_tree(tmp_path / "export", {f"7/{name}": content for name, content in MODEL.items()})
    first = parcels.prepare(str(source), str(tmp_path), True, Demands())
    inode = os.stat(first["file"]).st_ino
    assert parcels.prepare(str(source), str(tmp_path), True, Demands()) == first
    assert os.stat(first["file"]).st_ino == inode
    assert first["sha256"] == archives.directory_digest(str(source / "7"))
    (source / "7" / "saved_model.pb").write_bytes(model_pb({"z": (FLOAT, [-1])}))
    assert parcels.prepare(str(source), str(tmp_path), True, Demands())["sha256"] != first["sha256"]


def test_nothing_is_packed_in_check_mode(export, cache):
    (parcel,) = of_needs(need(export), cache=cache, pack=False).values()
    assert parcel["sha256"] == archives.directory_digest(str(export))
    assert not os.path.exists(parcel["file"])


def test_an_archive_is_sent_as_it_is(tmp_path, cache):
    archive = tar_of(tmp_path / "ranker.tar.gz", MODEL)
    digest = file_digest(str(archive))
    assert of_needs(need(archive, sha256=digest), cache=cache) == {
        "ranker/7": {"file": str(archive), "sha256": digest, "directory": False}
    }


def test_what_the_host_has_published_is_not_sent_again(export, cache):
    published = [archives.directory_digest(str(export))]
    assert of_needs(need(export, published=published), cache=cache) == {"ranker/7": None}
    assert of_needs(need(export, published=["0" * 64]), cache=cache)["ranker/7"]["directory"] is True


def test_a_source_that_is_gone_leaves_what_was_published_from_it_alone(tmp_path, cache):
    assert of_needs(need(tmp_path / "gone", published=["0" * 64]), cache=cache) == {"ranker/7": None}


def test_what_is_not_what_its_manifest_says_is_not_sent(export, cache):
    digest = archives.directory_digest(str(export))
    (sentence,) = refused(need(export, known="0" * 64), cache=cache)
    assert f"its checksum is {digest}, not the wished {'0' * 64}" in sentence
    assert of_needs(need(export, known=digest), cache=cache)["ranker/7"]["sha256"] == digest


def test_what_is_not_fetched_in_check_mode_counts_as_sent(cache):
    (parcel,) = of_needs(need(""), cache=cache, pack=False).values()
    assert parcel == {"file": "", "sha256": "", "directory": True}


def test_all_that_cannot_be_sent_is_told_at_once(tmp_path, export, cache):
    wrong = need(export, sha256="0" * 64)
    gone = need(tmp_path / "gone", "gone/1", where="tfserving_models[1]")
    empty = need(write_tree(tmp_path / "empty", {"README": b""}), "empty/1", where="tfserving_models[2]")
    digest = archives.directory_digest(str(export))
    first, second, third = refused(wrong, gone, empty, cache=cache)
    assert first == (
        f"tfserving_models[0].source.sha256: {export} on the controller cannot be sent: its checksum is {digest}, "
        f"not the wished {'0' * 64}; check what changed the source, or correct the wish"
    )
    assert second == (
        f"tfserving_models[1].source.uri: {tmp_path}/gone on the controller cannot be sent: No such file or directory; "
        "correct the path, or set remote for one on the host"
    )
    assert third.startswith(f"tfserving_models[2].source: {tmp_path}/empty on the controller cannot be sent: ")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free space under {cache}"), (errno.EACCES, "make it readable")],
)
def test_trouble_with_files_of_the_controller_has_its_remedy(export, cache, monkeypatch, number, remedy):
    def fails(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(archives, "pack", fails)
    (sentence,) = refused(need(export), cache=cache)
    assert sentence == (
        f"tfserving_models[0].source.uri: {export} on the controller cannot be sent: {os.strerror(number)}; "
        f"{remedy.format(cache=cache)}"
    )


def test_what_the_room_of_a_host_cannot_hold_even_packed_is_refused_before_it_is_sent(tmp_path, export, cache):
    needs = [need(export), need(export, "other/1", where="tfserving_models[1]")]
    found = {"ranker/7": parcels.prepare(str(export), cache, True, None)}
    found["other/1"] = found["ranker/7"]
    size = os.path.getsize(found["ranker/7"]["file"])
    parcels.require_room(needs, found, 2 * size)
    parcels.require_room(needs, {**found, "other/1": None}, size)
    with pytest.raises(WishError) as refusal:
        parcels.require_room(needs, found, size)
    assert str(refusal.value) == (
        "tfserving_models[1].source: it needs 1 MiB at least and 0 MiB may be used on this host; "
        "free space there, or keep fewer versions"
    )


# --- copies from other hosts --------------------------------------------------------------------------------


def test_what_another_host_has_sent_is_neither_packed_nor_sent(export, cache):
    digest = archives.directory_digest(str(export))
    assert of_needs(need(export, incoming=digest), cache=cache) == {
        "ranker/7": {"file": "", "sha256": digest, "directory": True}
    }
    parcels.require_room([need(export)], of_needs(need(export, incoming=digest), cache=cache), room=0)
    assert not [name for name in os.listdir(cache) if name.endswith(".tar")]


def test_what_another_host_has_sent_of_other_content_is_sent_again(export, cache):
    (parcel,) = of_needs(need(export, incoming="a" * 64), cache=cache).values()
    assert os.path.exists(parcel["file"])


@pytest.mark.parametrize("packed", [False, True])
def test_a_manifest_has_digest_and_size_of_each_file_below_the_model(tmp_path, cache, packed):
    source = write_tree(tmp_path / "export", {f"7/{name}": content for name, content in MODEL.items()})
    if packed:
        source = tar_of(tmp_path / "ranker.tar.gz", {f"7/{name}": content for name, content in MODEL.items()})
    found = manifests.read(parcels.manifest(str(source), cache))
    assert found.sha256 == (file_digest(str(source)) if packed else found.tree)
    assert found.files == {name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in MODEL.items()}
    assert parcels.manifest(str(source), cache) == found.plain()
