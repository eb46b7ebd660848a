# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps of optimize_model.yml on the controller, from the survey to the new version."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archives import directory_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import steps, wishes

SIGNATURE: dict[str, Any] = {
    "method": "predict",
    "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 2]}},
    "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [-1, 1]}},
    "parses_examples": False,
    "batchable": True,
}
SURVEY: dict[str, Any] = {
    "surveyed": True,
    "tensorflow": "2.19.1",
    "model": {"size_mb": 100.0, "signatures": {"serving_default": SIGNATURE}},
    "candidates": [{"recipe": {"kind": "freeze"}, "possible": True, "why": "", "lost_signatures": []}],
}
INSTANCE: dict[str, Any] = {
    "name": "main",
    "models": ["ranker", "digits"],
    "server": {"version": "2.19.1"},
    "flags": {},
    "gpus": [],
    "batching": {"max_batch_size": 8, "allowed_batch_sizes": [4, 8]},
    "model_config": {"model_config_list": {"config": [{"name": "ranker", "base_path": "/m/ranker"}]}},
}
ORIGINAL = {"instance": INSTANCE, "model": "ranker", "version": 7}
WISH = wishes.read({"instance": "main"})
SPEED = {"check": "speed", "passed": True, "verdict": "passed", "figure": 0.2, "bound": 0.05, "sentence": "sooner"}


# --- the original --------------------------------------------------------------------------------------------


def original(versions: list[int], model: str | None = None, **config: Any) -> dict[str, Any]:
    listed = {"model_config_list": {"config": [{"name": "ranker", "base_path": "/m/ranker", **config}]}}
    wish = wishes.read({"instance": "main", "model": model})
    plan = {"instances": [{**INSTANCE, "model_config": listed}]}
    return steps.original(plan, wish, {"model_versions": {"ranker": versions}})


def test_the_first_model_of_the_instance_is_the_one_that_it_serves() -> None:
    found = original([7])
    assert (found["model"], found["version"], found["base_path"]) == ("ranker", 7, "/m/ranker")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"versions": [6, 7]},
            "instance: serves 2 versions of ranker, and one of them is to be compared; let it serve one version,"
            " without labels, or name another instance",
        ),
        ({"versions": [7], "model": "other"}, "model: other is not served by main; it has: ranker, digits"),
        (
            {"versions": [7], "version_labels": {"stable": 7}},
            "instance: serves ranker by labels, which a trial has none of; name another instance",
        ),
    ],
)
def test_an_original_that_cannot_be_compared_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WishError) as refused:
        original(**given)
    assert str(refused.value) == sentence


# --- requests, verdict, new version --------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of a run, with the original and a candidate as they are fetched."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("original", "freeze"):
        version = tmp_path / name
        version.mkdir()
        (version / "saved_model.pb").write_text(name)
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            tar.add(version, arcname=".")
    return folder


def asked(work: Path) -> dict[str, Any]:
    given = {"survey": SURVEY, "original": ORIGINAL, "cpuinfo": "flags\t: avx2 fma\nflags\t: avx2\n", "gpus": []}
    return steps.asked(WISH, str(work), given)


def answered(work: Path, name: str, parts: list[dict[str, Any]], shift: float = 0.0) -> None:
    """Write answers of a model that adds up its inputs."""
    for part in parts:
        lines = []
        for number, line in enumerate(Path(part["file"]).read_text().splitlines()):
            rows = json.loads(line)["inputs"]["x"]
            held = {"dtype": "DT_FLOAT", "shape": [len(rows), 1], "values": [sum(row) + shift for row in rows]}
            lines += [
                json.dumps({"request": number, "batch_size": size, "error": "", "outputs": {"y": held}})
                for size in part["batch_sizes"]
            ]
        (work / f"{name}-{part['name']}.jsonl").write_text("\n".join(lines))


def test_requests_are_made_up_where_none_were_recorded(work: Path, tmp_path: Path) -> None:
    found = asked(work)
    assert [each["kind"] for each in found["candidates"]] == ["freeze"]
    assert [(each["name"], each["batch_sizes"]) for each in found["parts"]] == [
        ("requests", [None]),
        ("batched", [1, 3, 4, 7, 8]),
    ]
    assert found["described"] == {
        "recorded": False, "count": 64, "different": 64, "left_out": [], "sizes": [1, 3, 4, 7, 8], "batched": 50,
    }  # fmt: skip
    assert found["limits"] == {"memory_mb": 1424, "seconds": 1800}
    assert found["digest"] == directory_digest(str(tmp_path / "original"))


def test_what_all_cpus_can_do_counts() -> None:
    assert steps.cpu_words("flags : a b c\nmodel name : x\nflags : b c d\n") == ["b", "c"]
    assert steps.cpu_words("Features : fp asimd\n") == []


def judged(work: Path, shift: float = 0.0, **changed: Any) -> dict[str, Any]:
    found = asked(work)
    answered(work, "original", found["parts"])
    answered(work, "freeze", found["parts"], shift)
    given = {
        "candidate": found["candidates"][0],
        "built": {"built": True, "size_mb": 100, "lost_signatures": []},
        "survey": SURVEY,
        "survey_before": SURVEY,
        "answers": [{"answered": True}, {"answered": True}],
        **changed,
    }
    return steps.judged(WISH, str(work), given)


def test_a_candidate_with_the_same_answers_passes(work: Path) -> None:
    found = judged(work)
    assert (found["passed"], found["kind"], found["built"]) == (True, "freeze", {"size_mb": 100})
    assert [row["check"] for row in found["rows"]] == [
        "signatures", "answers", "finite values of y", "tolerance of y", "batches of y",
    ]  # fmt: skip


def test_a_candidate_with_other_answers_does_not(work: Path) -> None:
    assert [row["check"] for row in judged(work, 0.01)["rows"] if not row["passed"]] == ["tolerance of y"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"built": {"built": False, "why": "the model has no variables"}}, "the model has no variables"),
        ({"built": {}}, "the builder does not say why"),
        ({"answers": [{"answered": True}, {"answered": False, "why": "out of memory"}]}, "out of memory"),
        ({"survey": {"model": {"signatures": {}}, "surveyed": True}}, "serving_default differ from the original's"),
    ],
)
def test_a_candidate_that_the_builder_gives_up_is_refused_in_its_words(
    work: Path, changed: dict[str, Any], sentence: str
) -> None:
    found = judged(work, **changed)
    assert (found["passed"], found["rows"][0]["sentence"]) == (False, sentence)


def concluded(
    work: Path, tmp_path: Path, speeds: Any, entry: dict[str, Any], wish: wishes.Wish = WISH
) -> dict[str, Any]:
    given = {
        "host": "gpu-a",
        "original": ORIGINAL,
        "versions": [6, 7],
        "output": str(tmp_path / "optimized/main"),
        "entries": [entry],
        "speeds": speeds,
        "asked": {
            "digest": "d" * 64,
            "refused": {},
            "described": {"recorded": False, "count": 64, "different": 64, "left_out": []},
        },
        "conditions": {"server_version": "2.19.1", "cpu": "a CPU"},
    }
    wished = [{"name": "ranker", "version": 7, "source": {"type": "path", "uri": "models/ranker-{version}"}}]
    return steps.concluded(wish, given, wished, str(tmp_path), str(work))


def test_the_best_candidate_becomes_a_new_version(work: Path, tmp_path: Path) -> None:
    entry = judged(work)
    shutil.rmtree(work / "original")
    found = concluded(work, tmp_path, {"freeze": [SPEED]}, entry)
    assert found["version"] == 8
    manifest = json.loads((tmp_path / "models/ranker-8/assets.extra/optimised/manifest.json").read_text())
    assert manifest["optimised_from"] == {"version": 7, "digest": "d" * 64}
    assert manifest["gate"][-1] == SPEED
    assert found["text"].startswith("ranker version 7 is faster by freeze: version 8 is published\n  freeze: passed")
    assert {path.suffix for path in (tmp_path / "optimized").iterdir()} == {".json", ".md", ".html"}


@pytest.mark.parametrize("speeds", [{}, {"freeze": [{**SPEED, "passed": False, "sentence": "too slow"}]}])
def test_a_candidate_that_is_not_faster_is_not_published(work: Path, tmp_path: Path, speeds: Any) -> None:
    found = concluded(work, tmp_path, speeds, judged(work))
    assert found["version"] is None
    assert found["text"].startswith("ranker version 7 stays as it is: no candidate has passed the gate")
    assert not (tmp_path / "models").exists()


def test_an_archive_of_the_builder_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(WishError, match=r"bad\.tar: "):
        steps.unpacked(str(tmp_path / "bad.tar"), str(tmp_path / "folder"))
    assert not (tmp_path / "outside").exists()
