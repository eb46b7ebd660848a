# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A new version: its number, its place, its manifest, and nothing half done."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.template import trust_as_template
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archives import directory_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import document, publication

ROW = {"check": "speed", "passed": True, "verdict": "passed", "figure": 0.2, "bound": 0.05, "sentence": "faster <b>"}


def entry(kind: str = "freeze", gain: float = 0.2, passed: bool = True, **flags: Any) -> dict[str, Any]:
    row = {**ROW, "figure": gain, "passed": passed}
    return {
        "kind": kind,
        "recipe": {"kind": kind},
        "flags": flags,
        "reason": "",
        "built": {},
        "rows": [row],
        "passed": passed,
    }


def whole(*entries: dict[str, Any], version: int = 8) -> document.Document:
    begun = document.begun("main", "gpu-a", "ranker", {"version": 7, "digest": "d" * 64}, {"server_version": "2.19.1"})
    asked = {"recorded": True, "count": 600, "different": 590, "left_out": [], "sizes": []}
    held = list(entries or [entry()])
    return {**begun, "candidates": held, "chosen": document.choice(held), "version": version, "requests": asked}


@pytest.fixture
def candidate(tmp_path: Path) -> str:
    folder = tmp_path / "built"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    return str(folder)


def wished(uri: str, **source: Any) -> dict[str, Any]:
    return {"name": "ranker", "version": 7, "source": {"type": "path", "uri": uri, **source}}


def test_a_directory_appears_beside_its_siblings_with_its_manifest(tmp_path: Path, candidate: str) -> None:
    place = publication.target(wished("models/ranker-{version}"), 8, str(tmp_path), None, str(tmp_path))
    found = publication.publish(candidate, place, whole())
    published = tmp_path / "models/ranker-8"
    assert found["path"] == str(published)
    assert found["sha256"] == directory_digest(str(published))
    manifest = json.loads((published / "assets.extra/optimised/manifest.json").read_text())
    assert manifest["optimised_from"] == {"version": 7, "digest": "d" * 64}
    assert (manifest["version"], manifest["recipe"]) == (8, {"kind": "freeze"})
    assert manifest["gate"] == [ROW]
    assert "faster &lt;b&gt;" in (published / "assets.extra/optimised/report.html").read_text()
    assert os.listdir(tmp_path / "models") == ["ranker-8"]
    assert yaml.safe_load(found["wish"]) == {
        "tfserving_models": [
            {"name": "ranker", "version": 8, "source": {"type": "path", "uri": "models/ranker-{version}"}}
        ]
    }


def test_a_source_of_another_type_gets_an_archive_and_the_line_to_write(tmp_path: Path, candidate: str) -> None:
    model = {"name": "ranker", "source": {"type": "s3", "uri": "s3://b/ranker/{version}/"}}
    place = publication.target(model, 8, "/inventory", None, str(tmp_path / "optimized"))
    found = publication.publish(candidate, place, whole(entry("tflite_int8", prefer_tflite_model=True)))
    archive = tmp_path / "optimized/ranker-8.tar.gz"
    assert found["sha256"] == file_digest(str(archive))
    with tarfile.open(archive, "r:gz") as tar:
        assert "assets.extra/optimised/manifest.json" in tar.getnames()
    wish = yaml.safe_load(found["wish"])
    assert wish["tfserving_models"][0]["source"]["sha256"] == found["sha256"]
    assert wish["tfserving_instances"] == [{"name": "main", "flags": {"prefer_tflite_model": True}}]


def test_a_wish_is_written_though_ansible_has_tagged_its_text(tmp_path: Path, candidate: str) -> None:
    name, uri = (trust_as_template(text) for text in ("ranker", "models/ranker-{version}"))
    model = {"name": name, "source": {"type": "path", "uri": uri}}
    place = publication.target(model, 8, str(tmp_path), None, str(tmp_path))
    found = publication.publish(candidate, place, {**whole(entry()), "model": name})
    assert "  uri: models/ranker-{version}\n" in found["wish"]


def test_archives_of_the_same_content_are_the_same_bytes(tmp_path: Path, candidate: str) -> None:
    found = whole()
    digests = {
        publication.publish(candidate, publication.target(wished("r.tgz"), 8, "/", str(tmp_path / name), ""), found)[
            "sha256"
        ]
        for name in ("a", "b")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("left", ["directory", "file"])
def test_a_version_that_exists_is_left_alone(tmp_path: Path, candidate: str, left: str) -> None:
    there = tmp_path / "models/ranker-8"
    there.parent.mkdir()
    there.mkdir() if left == "directory" else there.write_text("mine")
    place = publication.target(wished("models/ranker-{version}"), 8, str(tmp_path), None, "")
    with pytest.raises(WishError, match="ranker-8 exists; give another version"):
        publication.publish(candidate, place, whole())
    assert os.listdir(there.parent) == ["ranker-8"]


def test_a_candidate_that_has_not_passed_is_never_published(tmp_path: Path, candidate: str) -> None:
    place = publication.target(wished("models/ranker-{version}"), 8, str(tmp_path), None, "")
    for found in (whole(entry(passed=False)), {**whole(entry(passed=False)), "chosen": "freeze"}):
        with pytest.raises(WishError, match="none has passed the gate, so nothing is published"):
            publication.publish(candidate, place, found)
    assert not (tmp_path / "models").exists()


def test_what_a_killed_run_has_left_is_removed_and_looks_like_nothing_published(tmp_path: Path, candidate: str) -> None:
    left = tmp_path / "models/.ranker-8.optimising-x1/version"
    left.mkdir(parents=True)
    model = wished("models/ranker-{version}")
    assert publication.number(None, [7], model, str(tmp_path)) == 8
    publication.publish(candidate, publication.target(model, 8, str(tmp_path), None, ""), whole())
    assert os.listdir(tmp_path / "models") == ["ranker-8"]


def test_a_failure_leaves_nothing(tmp_path: Path, candidate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publication, "_describe", full)
    place = publication.target(wished("models/ranker-{version}"), 8, str(tmp_path), None, "")
    with pytest.raises(WishError, match=r"cannot be written \(No space left on device\); choose another place"):
        publication.publish(candidate, place, whole())
    assert os.listdir(tmp_path / "models") == []


def test_a_link_in_a_candidate_is_not_published(tmp_path: Path, candidate: str) -> None:
    os.symlink("/etc/passwd", f"{candidate}/assets")
    place = publication.target(wished("models/ranker-{version}"), 8, str(tmp_path), None, "")
    with pytest.raises(WishError, match="link"):
        publication.publish(candidate, place, whole())
    assert os.listdir(tmp_path / "models") == []


# --- numbers -------------------------------------------------------------------------------------------------


def test_the_next_number_is_above_all_that_exist(tmp_path: Path) -> None:
    (tmp_path / "models/ranker-11").mkdir(parents=True)
    (tmp_path / "models/other-40").mkdir()
    assert publication.number(None, [3, 7], wished("models/ranker-{version}"), str(tmp_path)) == 12
    assert publication.number(15, [3, 7], wished("models/ranker-{version}"), str(tmp_path)) == 15


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (7, "version: 7 exists; give one that does not, such as 8"),
        (5, "version: 5 is below 7, which exists; give 8 or more"),
    ],
)
def test_a_number_that_is_taken_or_too_low_is_refused(wanted: int, sentence: str) -> None:
    with pytest.raises(WishError) as refused:
        publication.number(wanted, [3, 7], {"name": "ranker"}, "/inventory")
    assert str(refused.value) == sentence


# --- the choice ----------------------------------------------------------------------------------------------


def test_the_candidate_with_the_surest_gain_is_chosen() -> None:
    assert document.choice([entry(), entry("xla", 0.4, False), entry("tflite_int8", 0.3)]) == "tflite_int8"
    assert document.choice([entry(passed=False)]) is None


def test_a_candidate_that_was_not_measured_has_not_passed() -> None:
    unmeasured = {**entry(), "rows": []}
    found = document.with_speed({**unmeasured, "passed": True}, None, True)
    assert (found["passed"], found["rows"][-1]["sentence"]) == (False, "the speed was not measured")
    assert document.choice([document.with_speed({**unmeasured, "passed": True}, None, False)]) is None


def test_text_of_a_builder_is_no_markup() -> None:
    bad = entry(passed=False)
    bad["rows"][0]["sentence"] = "<script>`|\n# x"
    found = {**whole(bad), "refused": {"xla": "no <i>"}}
    assert "<script>" not in document.page(found)
    assert "\n# x" not in document.markdown(found)


def test_a_roll_out_tells_what_a_version_was_made_from(tmp_path: Path, candidate: str) -> None:
    model = wished("models/ranker-{version}")
    publication.publish(candidate, publication.target(model, 8, str(tmp_path), None, ""), whole())
    told = publication.origin({**model, "version": 8}, str(tmp_path))
    assert told == (
        "version 8 of ranker was made from version 7 (dddddddddddd) by freeze:"
        " models/ranker-8/assets.extra/optimised/report.md"
    )
    assert publication.origin(model, str(tmp_path)) == ""
    (tmp_path / "models/ranker-8/assets.extra/optimised/manifest.json").write_text("[]")
    assert publication.origin({**model, "version": 8}, str(tmp_path)) == ""
    assert publication.origin({"name": "ranker", "source": {"type": "s3", "uri": "s3://b/k"}}, "/") == ""
