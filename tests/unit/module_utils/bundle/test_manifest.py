# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle is complete and unchanged, or it is refused; what is sent of it arrives as it was."""

from __future__ import annotations

import json
import os
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import host as bundle_host
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import manifest as bundle_manifest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import names as bundle_names
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import parcel as bundle_parcel
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from bundle_cases import artifact, fill, make, sha256

FILES = {
    "packages/bookworm/Packages": b"Package: a\n",
    "packages/bookworm/a_1_all.deb": b"deb",
    "keys/AA.gpg": b"key",
    "models/digits-1/1": b"model",
}


@pytest.fixture
def place(tmp_path):
    make(tmp_path / "bundle", FILES)
    return tmp_path / "bundle"


def refused(sentence: str):
    return pytest.raises(WishError, match=f"^{re.escape(sentence)}$")


def test_a_whole_bundle_is_taken(place):
    assert set(bundle_manifest.verified(str(place))) == set(FILES)


def test_a_bundle_may_be_moved(place, tmp_path):
    moved = place.rename(tmp_path / "elsewhere")
    assert set(bundle_manifest.verified(str(moved))) == set(FILES)


def test_a_changed_file_is_refused_by_its_name(place):
    (place / "models/digits-1/1").write_bytes(b"mOdel")
    with refused(
        f"tfserving_fleet_bundle: models/digits-1/1 has the SHA-256 {sha256(b'mOdel')}, and the manifest says "
        f"{sha256(b'model')}; copy the bundle again, or make a new one"
    ):
        bundle_manifest.verified(str(place))


def test_a_missing_file_is_refused_by_its_name(place):
    (place / "keys/AA.gpg").unlink()
    with refused("tfserving_fleet_bundle: keys/AA.gpg is missing; copy the bundle again, or make a new one"):
        bundle_manifest.verified(str(place))


def test_a_copy_that_broke_off_is_refused(place):
    (place / "packages/bookworm/a_1_all.deb").write_bytes(b"d")
    with refused(
        "tfserving_fleet_bundle: packages/bookworm/a_1_all.deb has 1 bytes, and the manifest says 3; "
        "copy the bundle again, or make a new one"
    ):
        bundle_manifest.verified(str(place))


def test_a_directory_without_a_manifest_is_refused(tmp_path):
    with refused(
        f"tfserving_fleet_bundle: {tmp_path} holds no manifest.json; "
        "make it with tfserving.fleet.bundle; the manifest comes last"
    ):
        bundle_manifest.verified(str(tmp_path))


def test_a_relative_path_is_refused():
    with refused("tfserving_fleet_bundle: 'bundle' is not an absolute path; write it as /srv/bundle"):
        bundle_manifest.verified("bundle")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "manifest.json cannot be read ("),
        ('{"schema": 2, "artifacts": []}', "manifest.json is not of schema 1; make the bundle with this release"),
        ('{"schema": 1}', "manifest.json is damaged; copy the bundle again"),
        (json.dumps({"schema": 1, "artifacts": [{"path": "keys/a", "size": 1, "sha256": "x"}]}), "is damaged"),
    ],
)
def test_a_manifest_that_is_none_is_refused(place, content, words):
    (place / "manifest.json").write_text(content)
    with pytest.raises(WishError, match=re.escape(words)):
        bundle_manifest.verified(str(place))


@pytest.mark.parametrize(
    "path", ["../x", "keys/../../x", "/etc/passwd", "keys//x", "keys/", "other/x", "keys", 7, "keys/\0"]
)
def test_a_path_that_leads_out_of_the_bundle_is_damage(place, path):
    (place / "manifest.json").write_text(json.dumps({"schema": 1, "artifacts": [{**artifact("keys/a"), "path": path}]}))
    with pytest.raises(WishError, match=r"manifest\.json is damaged"):
        bundle_manifest.verified(str(place))


def test_the_manifest_is_sorted_and_written_once(place):
    entries = [artifact(path, content) for path, content in FILES.items()]
    assert not bundle_manifest.write(str(place), reversed(entries))
    listed = json.loads((place / "manifest.json").read_text())
    assert [entry["path"] for entry in listed["artifacts"]] == sorted(FILES)
    assert set(listed["artifacts"][0]) == {"path", "sha256", "size", "from"}


def test_what_the_manifest_does_not_name_goes(place):
    fill(place, {"packages/old/x.deb": b"x"})
    assert bundle_manifest.write(str(place), [artifact(path, content) for path, content in FILES.items()])
    assert not (place / "packages/old").exists()


def test_two_builders_of_one_release_are_refused(place):
    with refused("bundle_builder: two builders bring keys/a; name one builder for each release"):
        bundle_manifest.write(str(place), [artifact("keys/a", b"1"), artifact("keys/a", b"2")])


def host_files() -> list[dict]:
    return [{**artifact(path, content), "unless": ""} for path, content in FILES.items()]


def bring(place, host, check=False, **changes) -> dict:
    """Do what the action does: ask, and send what lacks."""
    params = {"root": str(host), "release": "bookworm", "files": host_files(), "parcel": None, **changes}
    result = bundle_host.keep(params, check)
    if "needs" not in result:
        return result
    parcel = str(place.parent / "parcel.tar")
    bundle_parcel.pack(str(place), result["needs"], parcel)
    return bundle_host.keep({**params, "parcel": parcel}, check)


def test_a_host_gets_what_it_lacks_and_then_nothing(place, tmp_path):
    host = tmp_path / "host"
    first = bring(place, host)
    assert (first["changed"], first["refresh"], sorted(first["brought"])) == (True, True, sorted(FILES))
    (host / "apt/lists/x_Packages").write_text("read by apt")
    again = bring(place, host)
    assert (again["changed"], again["refresh"], again["brought"]) == (False, False, [])


def test_a_file_that_was_changed_on_the_host_is_brought_again(place, tmp_path):
    host = tmp_path / "host"
    bring(place, host)
    bring(place, host)
    (host / "keys/AA.gpg").write_bytes(b"kEy")
    assert bring(place, host)["brought"] == ["keys/AA.gpg"]
    assert (host / "keys/AA.gpg").read_bytes() == b"key"


def test_check_mode_brings_the_index_alone(place, tmp_path):
    host = tmp_path / "host"
    result = bring(place, host, check=True)
    assert (result["changed"], result["brought"]) == (True, ["packages/bookworm/Packages"])
    assert not (host / "keys").exists()


def test_an_image_that_is_unpacked_already_is_not_brought_and_goes(place, tmp_path):
    host, release = tmp_path / "host", tmp_path / "release.json"
    files = [{**entry, "unless": str(release) if entry["path"].startswith("models") else ""} for entry in host_files()]
    bring(place, host, files=files)
    assert (host / "models/digits-1/1").exists()
    release.write_text("{}")
    assert not bring(place, host, files=files)["changed"]
    assert not (host / "models").exists()


def test_apt_sees_the_bundle_and_nothing_else(place, tmp_path):
    host = tmp_path / "host"
    bring(place, host)
    assert f"deb [trusted=yes] file:{bundle_names.ROOT}/packages" not in (host / "apt/sources.list").read_text()
    assert f"file:{host}/packages/bookworm ./" in (host / "apt/sources.list").read_text()
    configuration = (host / "apt/apt.conf").read_text()
    assert 'Dir::Etc::sourceparts "/dev/null";' in configuration
    assert f'Dir::State::lists "{host}/apt/lists";' in configuration


def test_what_the_host_holds_can_be_read_by_everybody_whatever_the_umask(place, tmp_path):
    before = os.umask(0o077)
    try:
        bring(place, tmp_path / "host")
    finally:
        os.umask(before)
    modes = {oct((tmp_path / "host" / path).stat().st_mode & 0o777) for path in ("packages/bookworm", "apt/lists")}
    assert modes == {"0o755"}
    assert (tmp_path / "host/keys/AA.gpg").stat().st_mode & 0o777 == 0o644


def test_a_parcel_that_was_damaged_on_the_way_is_refused(place, tmp_path):
    parcel = str(tmp_path / "parcel.tar")
    (place / "keys/AA.gpg").write_bytes(b"kEy")
    bundle_parcel.pack(str(place), ["keys/AA.gpg"], parcel)
    with refused("tfserving_fleet_bundle: keys/AA.gpg was damaged on the way, or changed meanwhile; run again"):
        bundle_parcel.unpack(parcel, str(tmp_path / "host"), host_files())
    assert os.listdir(tmp_path / "host/keys") == []


def test_a_parcel_with_more_or_less_than_was_asked_for_is_refused(place, tmp_path):
    parcel = str(tmp_path / "parcel.tar")
    bundle_parcel.pack(str(place), ["keys/AA.gpg"], parcel)
    with refused("tfserving_fleet_bundle: keys/AA.gpg was sent and not asked for; run again"):
        bundle_parcel.unpack(parcel, str(tmp_path / "host"), [])
    with refused("tfserving_fleet_bundle: models/digits-1/1 did not arrive; run again"):
        bundle_parcel.unpack(
            parcel, str(tmp_path / "host"), [f for f in host_files() if f["path"][:4] in ("keys", "mode")]
        )
