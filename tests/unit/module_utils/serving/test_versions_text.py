# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance's files with a roll-out taken back: as the role would write them, or refused."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import versions_text
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.versions_text import Move
from returning_host import files, instance

MOVE = Move(7, 8)
EDITS = {
    "gate.json": versions_text.in_gate,
    "main/instance.json": versions_text.in_description,
    "main/models.config": versions_text.in_models,
}


@pytest.mark.parametrize("path", EDITS)
@pytest.mark.parametrize(
    ("before", "after"),
    [((7, 8), (7,)), ((8,), (7,)), ((7,), (7,)), ((6,), (7,)), ((6, 7, 8), (6, 7)), ((6, 8), (6, 7)), ((8, 9), (7, 9))],
)
def test_files_are_byte_for_byte_what_the_role_writes_for_the_versions(tmp_path, path, before, after):
    found = EDITS[path](files(instance(tmp_path, *before))[path], "ranker", MOVE)
    assert found == files(instance(tmp_path, *after))[path]


@pytest.mark.parametrize("path", EDITS)
def test_labels_name_the_version_too(tmp_path, path):
    found = EDITS[path](files(instance(tmp_path, 7, 8, stable=7, canary=8))[path], "ranker", MOVE)
    assert found == files(instance(tmp_path, 7, stable=7, canary=7))[path]


@pytest.mark.parametrize("path", EDITS)
def test_labels_of_a_version_that_is_served_beside_the_two_stay(tmp_path, path):
    found = EDITS[path](files(instance(tmp_path, 6, 8, stable=6, canary=8))[path], "ranker", MOVE)
    assert found == files(instance(tmp_path, 6, 7, stable=6, canary=7))[path]


@pytest.mark.parametrize("path", EDITS)
def test_other_models_keep_their_versions(tmp_path, path):
    before = files(instance(tmp_path, 7))[path]
    assert "8" in before
    assert EDITS[path](before, "ranker", MOVE) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ranker", "stranger"), "does not have the model ranker once"),
        (("  config {", " config {"), "does not have the model ranker once"),
        (("specific {", "latest {"), "does not list the versions of ranker"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, change, words):
    text = files(instance(tmp_path, 7, 8))["main/models.config"].replace(*change)
    with pytest.raises(ValueError, match=f"^{words}$"):
        versions_text.in_models(text, "ranker", MOVE)


def test_a_damaged_description_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"."):
        versions_text.in_description("{", "ranker", MOVE)
