# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a process could read anew: seen through its own root and with its own user, not with ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.sight import unseen

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="looks with the eyes of another account")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A version of a model that everybody may read, and the way to it."""
    version = tmp_path / "models/digits/1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_text("graph")
    (version / "variables/variables.index").write_text("index")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    return version


@pytest.fixture
def server() -> Iterator[int]:
    """A process of another account, as a server is."""
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **account) as process:
        yield process.pid
        process.kill()


def test_what_the_process_can_read_is_no_matter(server, model):
    assert unseen(server, [str(model / "saved_model.pb")], [str(model)]) == ""


def test_a_path_is_named_whatever_its_letters_are_and_however_many(server, model):
    """In JSON each of these letters took six bytes, and a message that was cut was none."""
    path = "/".join([str(model), *["\u00e9" * 120] * 10])
    assert unseen(server, [], [path]) == f"{path} (No such file or directory)"
    assert unseen(server, [f"{model}/\x1b[2J"], []) == f"{model}/\\x1b[2J (No such file or directory)"


def test_a_path_that_is_not_there_is_named(server, model):
    assert unseen(server, [], [str(model.parent / "2")]) == f"{model.parent}/2 (No such file or directory)"


@as_root
def test_a_parent_that_is_closed_to_its_account_is_a_matter(server, model):
    model.parent.chmod(0o700)
    assert unseen(server, [], [str(model)]) == f"{model} (Permission denied)"


@as_root
def test_a_single_file_that_is_closed_to_its_account_is_a_matter(server, model):
    (model / "variables/variables.index").chmod(0o600)
    assert unseen(server, [], [str(model)]) == f"{model}/variables/variables.index (Permission denied)"


@as_root
def test_a_file_that_one_of_its_groups_may_read_can_be_seen(model):
    (model / "saved_model.pb").chmod(0o640)
    os.chown(model / "saved_model.pb", 0, 4242)
    with subprocess.Popen(["sleep", "60"], user=NOBODY, group=NOBODY, extra_groups=[4242]) as process:
        assert unseen(process.pid, [], [str(model)]) == ""
        process.kill()


@as_root
def test_a_link_into_what_its_mounts_hide_is_a_matter(model, tmp_path):
    """As with ProtectHome= and PrivateTmp=: an empty directory lies over the real one, in its mounts alone."""
    (tmp_path / "served").symlink_to(model.parents[1])
    hide = f"mount -t tmpfs tmpfs {model.parents[1]} && echo ready && exec sleep 60"
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", hide]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        path = tmp_path / "served/digits/1"
        assert unseen(process.pid, [], [str(path)]) == f"{path} (No such file or directory)"
        process.kill()


def test_nothing_is_said_of_a_process_that_has_ended(model):
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert unseen(process.pid, [], ["/nowhere"]) == ""
