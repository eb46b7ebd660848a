# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The archives that the lab's models are handed out in."""

import tarfile

import pytest


def test_an_archive_holds_the_version_at_its_top_level_without_owners_or_times(models):
    with tarfile.open(models / "digits-1.tar.gz") as archive:
        members = archive.getmembers()
    names = {member.name for member in members if member.isfile()}
    assert {"saved_model.pb", "variables/variables.index", "assets.extra/tf_serving_warmup_requests"} <= names
    assert {(member.mtime, member.uid, member.gid) for member in members} == {(0, 0, 0)}


@pytest.mark.parametrize("version", [1, 2])
def test_every_version_of_digits_ships_a_warm_up_file(models, version):
    assert (models / "digits" / str(version) / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0
