# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps of optimize_model.yml on the controller, between those of the builder and of the measured host.

They hand each other what is large in a folder of the run: the requests, what is known of each, and the answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError

from ..benchmark import publish as results
from ..report import file
from . import answers, batches, candidates, document, gate, publication, requests, verdicts, wishes
from .candidates import Candidate, Place
from .document import Document
from .gate import Evidence
from .measures import Task
from .verdicts import Row
from .wishes import Wish

REQUESTS, ASKED = "requests.jsonl", "asked.json"
# A builder holds a model four times while it converts it, and TensorFlow itself (measured: 0.6 GB).
BUILDER_MB, BUILDER_TIMES = 1024, 4


def original(plan: Mapping[str, Any], wish: Wish, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return which version of which model is to be made faster. Raises WishError where the instance serves several."""
    instance = next(each for each in plan["instances"] if each["name"] == wish.instance)
    model = wish.model or instance["models"][0]
    if model not in instance["models"]:
        raise WishError(
            "model", f"{model} is not served by {wish.instance}", f"it has: {', '.join(instance['models'])}"
        )
    served = (conditions.get("model_versions") or {}).get(model) or []
    if len(served) != 1:
        problem = f"serves {len(served)} versions of {model}, and one of them is to be compared"
        raise WishError("instance", problem, "let it serve one version, without labels, or name another instance")
    config = next(each for each in _configs(instance) if each["name"] == model)
    if config.get("version_labels"):
        raise WishError("instance", f"serves {model} by labels, which a trial has none of", "name another instance")
    return {"instance": instance, "model": model, "version": int(served[0]), "base_path": config["base_path"]}


def _configs(instance: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = instance["model_config"]["model_config_list"]["config"]
    return found


def allowed_sizes(instance: Mapping[str, Any]) -> list[int]:
    """Return the batch sizes that an instance forms."""
    batching = instance.get("batching") or {}
    return [int(size) for size in batching.get("allowed_batch_sizes") or [batching.get("max_batch_size") or 0] if size]


def ask(wish: Wish, work: str, instance: Mapping[str, Any], model: str, surveyed: Mapping[str, Any]) -> dict[str, Any]:
    """Write the requests that both are asked; return where, and at which batch sizes."""
    if wish.requests:
        asked = requests.recorded(wish.requests, wish.labels, model, surveyed)
    else:
        asked = requests.made_up(model, surveyed)
    heard = sorted(set(surveyed["signatures"]) - set(asked.left_out))
    in_rows = all(surveyed["signatures"][name].get("batchable") for name in heard)
    sizes = batches.sizes(allowed_sizes(instance)) if in_rows else []
    known = {
        "groups": list(asked.groups),
        "recorded": asked.recorded,
        "labels": None if asked.labels is None else {str(key): list(held) for key, held in asked.labels.items()},
        "sizes": sizes,
        "output": requests.answer_of(wish.answer, heard, surveyed) if wish.task else None,
        "described": {
            "recorded": asked.recorded,
            "count": len(asked.lines),
            "different": len(set(asked.groups)),
            "left_out": list(asked.left_out),
            "sizes": sizes,
        },
    }
    _write(Path(work) / REQUESTS, "\n".join(asked.lines) + "\n")
    _write(Path(work) / ASKED, json.dumps(known))
    return {"file": str(Path(work) / REQUESTS), "batch_sizes": [None, *sizes], "described": known["described"]}


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def choose(wish: Wish, place: Place, survey: Mapping[str, Any]) -> dict[str, Any]:
    """Return the candidates to build and why the others are not. Raises WishError where none is left."""
    found, refused = candidates.chosen(wish, place, survey["candidates"])
    asked = {kind: why for kind, why in refused.items() if kind in wish.candidates}
    if not found:
        why = "; ".join(f"{kind}: {words}" for kind, words in asked.items())
        raise WishError("candidates", f"none can be built: {why}", "ask for others")
    return {"candidates": [each.to_json() for each in found], "refused": asked}


def memory_mb(wish: Wish, survey: Mapping[str, Any]) -> int:
    """Return what the builder may use, in MiB."""
    return wish.builder_memory_mb or BUILDER_MB + int(BUILDER_TIMES * float(survey.get("size_mb") or 0))


def judge(
    wish: Wish,
    work: str,
    candidate: Candidate,
    built: Mapping[str, Any],
    surveys: tuple[Mapping[str, Any], Mapping[str, Any]],
    files: tuple[str, str],
) -> list[dict[str, Any]]:
    """Return the rows of a candidate, from the answers in two files: the original's and its own."""
    known = json.loads((Path(work) / ASKED).read_text(encoding="utf-8"))
    held = [answers.read(os.path.basename(path), _lines(path)) for path in files]
    labels = known["labels"]
    evidence = Evidence(
        held[0],
        held[1],
        known["groups"],
        known["recorded"],
        known["sizes"],
        None if labels is None else {int(number): each for number, each in labels.items()},
        wish.tolerances,
    )
    task: Task | None = wish.task_of(known["output"]) if known["output"] else None
    faces = gate.signatures(
        surveys[0]["signatures"], surveys[1]["signatures"], built.get("lost_signatures") or [], wish.lose_signatures
    )
    rows = [faces, *(gate.judge(candidate.kind, evidence, task) if faces.passed else [])]
    return [row.to_json() for row in rows]


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as stream:
            yield from iter(lambda: stream.readline(answers.MOST_LINE_BYTES + 1), b"")
    except OSError as error:
        raise WishError(path, f"cannot be read ({error.strerror})", "look at the builder's log") from None


def digest(directory: str) -> str:
    """Return the digest of a version's files. Raises WishError for what is no plain tree."""
    try:
        return archives.directory_digest(directory)
    except RefusalError as error:
        raise WishError(directory, error.problem, error.remedy) from None


def conclude(
    found: Document, place: publication.Target, folders: Mapping[str, str], output: str, publishes: bool
) -> Document:
    """Choose a candidate, publish it, and write the reports.

    :param folders: by kind the directory of each candidate that was built.
    """
    done: Document = {**found, "chosen": document.choice(found["candidates"])}
    if done["chosen"] and publishes:
        done["published"] = publication.publish(folders[done["chosen"]], place, done)
    results.make_room(output)
    file.write(f"{output}.json", results.written(done))
    file.write(f"{output}.md", document.markdown(done))
    file.write(f"{output}.html", document.page(done))
    return done


def asked(wish: Wish, work: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requests and the candidates, from the builder's survey."""
    survey, original_of = given["survey"], given["original"]
    plan = original_of["instance"]
    place = Place(plan, original_of["model"], cpu_words(given["cpuinfo"]), given["builder_gpus"], given["host_gpus"])
    return {
        **choose(wish, place, survey),
        **ask(wish, work, plan, original_of["model"], survey["model"]),
        "limits": {"memory_mb": memory_mb(wish, survey["model"]), "seconds": int(wish.builder_s)},
        "digest": digest(given["folder"]),
    }


def cpu_words(cpuinfo: str) -> list[str]:
    """Return what the CPUs of a host can all do, by the words of /proc/cpuinfo."""
    found = [set(line.split(":", 1)[1].split()) for line in cpuinfo.splitlines() if line.startswith("flags")]
    return sorted(set.intersection(*found)) if found else []


def judged(wish: Wish, work: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the document says of a candidate: why it was not built, or the verdict on its answers."""
    candidate, built = Candidate(**given["candidate"]), given["built"]
    if not built.get("built"):
        return document.entry(given["candidate"], built, [not_built(built)])
    for name in ("survey", "answers"):
        if not given[name].get("surveyed" if name == "survey" else "answered"):
            return document.entry(given["candidate"], built, [not_built(given[name])])
    surveys = (given["survey_before"]["model"], given["survey"]["model"])
    rows = judge(wish, work, candidate, built, surveys, (given["before"], given["after"]))
    return document.entry(given["candidate"], built, rows)


def not_built(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a candidate that the builder has given up."""
    why = str(told.get("why") or "the builder does not say why")
    return Row("build", verdicts.FAILED, why).to_json()


def concluded(
    wish: Wish, given: Mapping[str, Any], wished: Sequence[Mapping[str, Any]], inventory: str, work: str
) -> dict[str, Any]:
    """Return the text, the new version if there is one, and the files of the reports."""
    original_of, found = given["original"], dict(given["document"])
    model = next((each for each in wished if each.get("name") == original_of["model"]), {"name": original_of["model"]})
    known = [*given["versions"], original_of["version"], *numbers_of(model)]
    version = publication.number(wish.version, known, model, inventory)
    place = publication.target(model, version, inventory, wish.publish_as, os.path.dirname(given["output"]) or ".")
    begun = document.begun(
        wish.instance, given["host"], original_of["model"], found["optimised_from"], found["environment"]
    )
    whole = {**begun, **found, "version": version}
    folders = {each["kind"]: os.path.join(work, each["kind"]) for each in whole["candidates"]}
    done = conclude(whole, place, folders, given["output"], wish.measure)
    return {"text": document.text(done), "version": version if done["published"] else None, "document": done}


def numbers_of(wished: Mapping[str, Any]) -> list[int]:
    """Return the versions that a model's wish names."""
    serve = wished.get("serve") or {}
    held = [wished.get("version"), *(serve.get("versions") or []), *(serve.get("labels") or {}).values()]
    return [int(each) for each in held if str(each).isdecimal()]


def wish_of(given: Mapping[str, Any]) -> Wish:
    """Return a wish that has travelled through Ansible, which knows lists only."""
    tuples = {key: tuple(given[key]) for key in ("candidates", "lose_signatures")}
    return wishes.Wish(**{**given, **tuples})
