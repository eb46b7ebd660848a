# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version that has been imported once stays what it was."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import pins

SOURCE = "version 8 of ranker at https://mlflow.example.com"
A, B = "a" * 64, "b" * 64


def manifest(sha256=A, **files):
    return pins.Manifest(
        source=SOURCE, sha256=sha256, files=files or {"saved_model.pb": A}, imported="2026-11-27T10:00:00Z"
    )


def refused(folder, *arguments):
    with pytest.raises(RefusalError) as refusal:
        pins.settle(str(folder), *arguments)
    return str(refusal.value)


def test_the_first_import_is_remembered_and_the_same_one_is_fine(tmp_path):
    folder = tmp_path / "some" / "pins"
    pins.settle(str(folder), manifest(), None)
    kept = json.loads((folder / pins.path_of("", SOURCE)).read_text())
    assert kept == {"schema": 1, **manifest()}
    assert folder.stat().st_mode & 0o777 == 0o700
    before = (folder / pins.path_of("", SOURCE)).stat().st_ino
    pins.settle(str(folder), manifest(), None)
    assert (folder / pins.path_of("", SOURCE)).stat().st_ino == before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"saved_model.pb": B}, "saved_model.pb has other content"),
        ({"x": A, "saved_model.pb": A}, "x is new"),
        ({"other": A}, "saved_model.pb is gone"),
    ],
)
def test_other_files_under_the_same_version_are_refused(tmp_path, files, words):
    pins.settle(str(tmp_path), manifest(), None)
    assert refused(tmp_path, manifest(B, **files), None) == (
        f"it is not what was imported at 2026-11-27T10:00:00Z: {words}; "
        f"publish it under a new number, or give source.sha256: {B} if that is meant"
    )
    pins.settle(str(tmp_path), manifest(), None)


def test_the_checksum_in_the_wish_takes_the_place_of_what_was_remembered(tmp_path):
    pins.settle(str(tmp_path), manifest(), None)
    pins.settle(str(tmp_path), manifest(B), B)
    pins.settle(str(tmp_path), manifest(B), None)
    pins.settle(str(tmp_path), manifest(A), B)
    pins.settle(str(tmp_path), manifest(B), None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "sha256": "x", "files": {}, "imported": ""}']
)
def test_a_damaged_manifest_is_refused_by_its_path(tmp_path, text):
    path = tmp_path / pins.path_of("", SOURCE)
    path.write_text(text)
    assert (
        refused(tmp_path, manifest(), None)
        == f"{path} on the controller is no manifest; remove it if you trust the source"
    )


def test_a_folder_that_cannot_be_written_is_refused_with_the_variable(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "file", manifest(), None) == (
        f"its manifest cannot be kept in {tmp_path}/file on the controller (File exists); "
        "set model_repository_imports to a directory on the controller that can be written"
    )
