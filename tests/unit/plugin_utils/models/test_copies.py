# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller says of a version that hosts copy from each other."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import copies, origins
from archive_files import write_tree
from http_double import Server
from model_servers import Registry
from saved_models import MODEL


@pytest.fixture
def export(tmp_path):
    return write_tree(tmp_path / "export", MODEL)


def arguments(uri, version=7, model="ranker", **source):
    models = [{"name": "ranker", "versions": [7], "source": {"type": "path", "uri": str(uri), **source}}]
    return {"models": models, "model": model, "version": version}


def manifest(tmp_path, given):
    (tmp_path / "cache").mkdir(exist_ok=True)
    cache = str(tmp_path / "cache")
    given = {"imports": str(tmp_path / "pins"), **given}
    return copies.manifest(given, origins.of_task(given, lambda path: path, cache, True), cache)


def refused(tmp_path, given) -> str:
    with pytest.raises(WishError) as error:
        manifest(tmp_path, given)
    return str(error.value)


def test_the_manifest_is_that_of_the_controllers_copy(tmp_path, export):
    found = manifest(tmp_path, arguments(export))
    assert found["sha256"] == archives.directory_digest(str(export))
    assert found["files"].keys() == MODEL.keys()


def test_an_imported_version_is_the_one_that_was_pinned(tmp_path):
    with Server() as server:
        wish = Registry(server).wish()
        given = {"models": [{"name": "a", "versions": [8], "source": wish}], "model": "a", "version": 8}
        assert manifest(tmp_path, given)["files"].keys() == MODEL.keys()
    assert list((tmp_path / "pins").glob("*.json"))


def size(given):
    return copies.size(given, origins.of_task(given, lambda path: path, "/nonexistent", False), "/nonexistent")


def test_the_size_is_known_without_reading_the_files(export):
    assert size(arguments(export)) == sum(map(len, MODEL.values()))


def test_the_size_of_what_would_have_to_be_fetched_is_not_asked_for():
    with Server() as server:
        wish = Registry(server).wish()
        assert size({"models": [{"name": "a", "versions": [8], "source": wish}], "model": "a", "version": 8}) == 0
        assert server.requests == []


def test_a_checksum_in_the_wish_is_compared(tmp_path, export):
    assert refused(tmp_path, arguments(export, sha256="a" * 64)).startswith(
        f"tfserving_models[0].source.sha256: {export} on the controller cannot be sent: its checksum is "
    )


def test_a_source_that_is_gone_is_said(tmp_path):
    assert refused(tmp_path, arguments(tmp_path / "gone")) == (
        f"tfserving_models[0].source.uri: {tmp_path}/gone on the controller cannot be sent: No such file or directory; "
        "correct the path, or set remote for one on the host"
    )


@pytest.mark.parametrize(
    "given",
    [
        arguments("http://models.example.com/7.tar", type="http"),
        arguments("/exports/7", remote=True),
        arguments("/exports/7", version=8),
    ],
)
def test_what_the_controller_does_not_send_is_not_copied(tmp_path, given):
    problem = f"version {given['version']} of ranker does not come from the controller"
    assert refused(tmp_path, given) == (
        f"tfserving_models[0].source: {problem}; let hosts copy only what the controller would send"
    )


def test_an_unknown_model_is_refused(tmp_path, export):
    assert refused(tmp_path, arguments(export, model="rank")) == "model: 'rank' is not in models; name one of them"


def test_what_is_no_version_is_refused(tmp_path, export):
    assert refused(tmp_path, arguments(export, version="x")).startswith("version: 'x' is not a version; ")


def test_models_are_named_with_their_versions(export):
    assert copies.named(arguments(export)["models"]) == [{"name": "ranker", "versions": [7]}]
    assert copies.named(None) == []
