# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle is read and packed once for all hosts of a run."""

from __future__ import annotations

import re
import tarfile

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.bundle import sending
from bundle_cases import make

FILES = {"packages/bookworm/Packages": b"Package: a\n", "keys/AA.gpg": b"key"}


@pytest.fixture
def place(tmp_path):
    make(tmp_path / "bundle", FILES)
    return tmp_path / "bundle"


def test_a_bundle_is_read_once_for_all_hosts_of_a_run(place, tmp_path):
    first = sending.verified(str(place), str(tmp_path))
    (place / "keys/AA.gpg").write_bytes(b"kEy")
    assert sending.verified(str(place), str(tmp_path)) == first


def test_a_bundle_that_was_refused_is_refused_for_the_next_host_too(place, tmp_path):
    (place / "keys/AA.gpg").unlink()
    for _host in range(2):
        with pytest.raises(WishError, match=r"keys/AA\.gpg is missing"):
            sending.verified(str(place), str(tmp_path))


def test_a_bundle_that_cannot_be_read_is_refused(place, tmp_path, monkeypatch):
    def broken(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sending.manifest, "file_digest", broken)
    sentence = f"bundle: {place} cannot be read ([Errno 5] Input/output error); make it readable"
    with pytest.raises(WishError, match=f"{re.escape(sentence)}$"):
        sending.verified(str(place), str(tmp_path))


def test_hosts_that_lack_the_same_files_share_a_tar(place, tmp_path):
    first = sending.packed(str(place), ["keys/AA.gpg"], str(tmp_path))
    (place / "keys/AA.gpg").unlink()
    assert sending.packed(str(place), ["keys/AA.gpg"], str(tmp_path)) == first
    with tarfile.open(first) as tar:
        assert tar.getnames() == ["keys/AA.gpg"]
    other = sending.packed(str(place), ["packages/bookworm/Packages"], str(tmp_path))
    assert other != first
