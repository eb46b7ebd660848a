# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a benchmark."""

from __future__ import annotations

import json

import benchmark_documents as documents
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import publish


def keep(path, document):
    path.write_text(json.dumps(document))
    return str(path)


def refusal(function, *arguments):
    with pytest.raises(WishError) as refused:
        function(*arguments)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["knee", "fixed", "shards", "few", "invalid"])
def test_a_run_is_written_for_people_and_for_programs(tmp_path, kind):
    keep(tmp_path / "run.json", getattr(documents, kind)())
    published = publish.publish(str(tmp_path / "run"), [], None, False)
    assert published.files == [str(tmp_path / f"run.{suffix}") for suffix in ("json", "md", "html")]
    assert publish.earlier(published.files[0])["verdict"] == published.verdict
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "run.html").as_uri() in published.text
    assert str(tmp_path / "run.md") in published.text


def test_a_comparison_is_part_of_the_files(tmp_path):
    against = keep(tmp_path / "before.json", documents.before())
    keep(tmp_path / "run.json", documents.before())
    publish.publish(str(tmp_path / "run"), [], against, False)
    found = publish.earlier(str(tmp_path / "run.json"))["comparison"]
    assert found["against"] == "before.json"
    assert found["same_plan"] is True


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read (No such file or directory); give the JSON file of a run"),
        (b"\xff", "cannot be read (it is no text); give the JSON file of a run"),
    ],
)
def test_an_earlier_run_that_cannot_be_read_is_refused(tmp_path, content, why):
    path = tmp_path / "before.json"
    if content is not None:
        path.write_bytes(content)
    assert refusal(publish.earlier, str(path)) == f"against: {path} {why}"


def test_a_file_that_is_no_run_is_refused(tmp_path):
    path = keep(tmp_path / "before.json", [])
    assert refusal(publish.earlier, path) == "against: is a list and no benchmark; give the JSON file of a benchmark"


def test_a_run_that_has_left_nothing_is_told(tmp_path):
    said = refusal(publish.publish, str(tmp_path / "run"), [], None, False)
    assert said == f"output: {tmp_path}/run.json cannot be read (No such file or directory); run the benchmark again"
    (tmp_path / "run.json").write_text("{")
    said = refusal(publish.publish, str(tmp_path / "run"), [], None, False)
    assert said == f"output: {tmp_path}/run.json cannot be read (it is not JSON); run the benchmark again"


def test_the_folder_is_made_and_nothing_is_left_in_it(tmp_path):
    publish.make_room(str(tmp_path / "a" / "b" / "run"))
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(publish.make_room, str(tmp_path / "file" / "a" / "run")) == (
        f"output: {tmp_path}/file/a cannot be written to (Not a directory); choose another place"
    )
