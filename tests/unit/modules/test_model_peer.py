# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as a whole: a version goes from one directory to another, and what fails is told and fails nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import manifest as manifests
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import offer
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.incoming import Incoming
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Store
from ansible_collections.tfserving.fleet.plugins.modules import model_peer as module
from archive_files import write_tree
from ports import free_port
from running import run_module
from saved_models import MODEL

ENTRIES = {path: [hashlib.sha256(content).hexdigest(), len(content)] for path, content in MODEL.items()}
MANIFEST = {"sha256": "0" * 64, "files": ENTRIES}
ONE = {
    "model": "ranker",
    "version": 7,
    "address": "127.0.0.1",
    "reader": "127.0.0.1",
    "token": "5e" * 32,
    "manifest": MANIFEST,
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(offer, "FOLDER", str(tmp_path / "run"))


@pytest.fixture
def run(tmp_path):
    me = {"owner": str(os.geteuid()), "group": str(os.getegid()), "min_free_mb": 0}
    return lambda state, **more: run_module(module, **{"state": state, "root": str(tmp_path / "models"), **me, **more})


def verified(tmp_path):
    incoming = Incoming(Store(str(tmp_path / "models")), "ranker", 7)
    manifest = manifests.read(MANIFEST)
    incoming.begin(manifest)
    write_tree(Path(incoming.tree), MODEL)
    incoming.finish(manifest)


def test_a_query_tells_what_is_published_and_what_is_verified(run, tmp_path):
    verified(tmp_path)
    write_tree(tmp_path / "models/ranker/6", MODEL)
    found = run("query", models=[{"name": "ranker", "versions": [5, 6, 7]}, {"name": "other", "versions": [1]}])
    assert found["here"] == {"ranker": {"6": "published", "7": "verified"}, "other": {}}
    assert not found["changed"]


def test_a_transfer_that_fails_is_told_and_does_not_fail(run):
    found = run("pull", port=free_port(), **ONE)
    assert (found["complete"], found["own"]) == (False, False)
    assert found["failure"] == "the transfer broke off: Connection refused"
    assert "failed" not in found


def test_a_full_disk_is_told_as_the_readers_own_trouble(run):
    found = run("pull", **{**ONE, "min_free_mb": 1 << 40})
    assert (found["complete"], found["own"]) == (False, True)
    assert found["failure"].startswith("it needs 1 MiB and ")


def test_what_is_here_is_not_pulled_again(run, tmp_path):
    verified(tmp_path)
    found = run("pull", port=free_port(), **ONE)
    assert (found["changed"], found["complete"], found["received"]) == (False, True, 0)


def test_a_version_that_is_not_here_is_not_offered_and_does_not_fail(run):
    found = run("offer", **ONE)
    assert (found["changed"], found["complete"], found["own"]) == (False, False, True)
    assert found["failure"].startswith("version 7 is not whole on this host")
    assert found["rate"] > 0


def test_an_offer_that_does_not_exist_is_withdrawn_without_a_change(run):
    assert not run("withdraw")["changed"]


@pytest.mark.parametrize("state", ["offer", "pull", "withdraw"])
def test_nothing_is_copied_in_check_mode(run, tmp_path, state):
    found = run(state, _ansible_check_mode=True, **ONE)
    assert found["skipped"]
    assert not (tmp_path / "models").exists()


def test_a_wish_that_the_host_cannot_grant_fails_in_a_sentence(run):
    found = run("pull", **{**ONE, "owner": "nobody-of-that-name"})
    assert found["failed"]
    assert found["msg"] == "owner: nobody-of-that-name is not on this host; create it first, or name another"


def test_an_option_that_a_transfer_needs_is_asked_for(run):
    for state in ("offer", "pull"):
        assert "token" in run(state, **{key: value for key, value in ONE.items() if key != "token"})["msg"]
