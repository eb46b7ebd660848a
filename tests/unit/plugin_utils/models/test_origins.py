# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where on the controller a version is: at its path, or where an import has put it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models.origins import Origins
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources.imports import Desk
from archive_files import read_tree
from http_double import Server
from model_servers import Registry
from saved_models import MODEL


def origins(models, beside, tmp_path, fetch=True):
    desk = Desk(str(tmp_path), str(tmp_path / "pins"), {}, 0.5, fetch)
    return Origins(models, beside, lambda uri: f"/project/{uri}", desk)


def test_a_path_is_where_ansible_finds_it(tmp_path):
    found = origins([{"name": "a", "source": {"type": "path", "uri": "x"}}], {}, tmp_path)
    need = {"key": "a/7", "uri": "x", "sha256": None}
    assert (found.place(need), found.told(need)) == (("/project/x", ""), "/project/x on the controller")


def test_an_import_is_where_it_was_put_and_its_notes_are_told_once(tmp_path):
    with Server() as server:
        shown = Registry(server).wish(uri="http://shown")
        beside = {"a": {"uri": server.url, "credentials": {"token": "hush"}}}
        found = origins([{"name": "a", "source": shown}], beside, tmp_path)
        need = {"key": "a/8", "uri": "http://shown", "sha256": None}
        path, digest = found.place(need)
        assert found.place(need) == (path, digest)
    assert read_tree(Path(path)) == MODEL
    assert digest == archives.directory_digest(path)
    assert len(found.notes) == 1
    assert found.told(need) == f"version 8 of ranker at {server.url}"


def test_an_import_that_is_not_to_be_fetched_has_no_place(tmp_path):
    with Server() as server:
        found = origins([{"name": "a", "source": Registry(server).wish()}], {}, tmp_path, fetch=False)
        assert found.place({"key": "a/8", "uri": "x", "sha256": None}) == ("", "")
