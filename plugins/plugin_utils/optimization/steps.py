# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps of optimize_model.yml on the controller, between those of the builder and of the measured host.

They hand each other what is large in a folder of the run: the requests, what is known of each, and the answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError

from .. import caller
from ..benchmark import publish as results
from ..report import file
from . import answers, batches, candidates, document, gate, publication, requests, verdicts, wishes
from .candidates import Candidate, Place
from .document import Document
from .gate import Evidence
from .measures import Task
from .verdicts import Row
from .wishes import Wish

REQUESTS, BATCHED = "requests", "batched"
ASKED, ORIGINAL = "asked.json", "original.tar"
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
    """Write the requests that both are asked; return the files, and at which batch sizes."""
    if wish.requests:
        asked = requests.recorded(wish.requests, wish.labels, model, surveyed)
    else:
        asked = requests.made_up(model, surveyed)
    heard = sorted(set(surveyed["signatures"]) - set(asked.left_out))
    in_rows = all(surveyed["signatures"][name].get("batchable") for name in heard)
    sizes = batches.sizes(allowed_sizes(instance)) if in_rows else []
    batched = batches.chosen(asked.rows) if sizes else []
    described = {
        "recorded": asked.recorded,
        "count": len(asked.lines),
        "different": len(set(asked.groups)),
        "left_out": list(asked.left_out),
        "sizes": sizes,
        "batched": len(batched),
    }
    known = {
        "groups": list(asked.groups),
        "recorded": asked.recorded,
        "labels": None if asked.labels is None else {str(key): list(held) for key, held in asked.labels.items()},
        "sizes": sizes,
        "batched": batched,
        "output": requests.answer_of(wish.answer, heard, surveyed) if wish.task else None,
    }
    _write(Path(work) / ASKED, json.dumps(known))
    parts = [_part(work, REQUESTS, asked.lines, [None])]
    if batched:
        parts.append(_part(work, BATCHED, [asked.lines[number] for number in batched], sizes))
    return {"parts": parts, "described": described}


def _part(work: str, name: str, lines: Sequence[str], sizes: Sequence[int | None]) -> dict[str, Any]:
    path = Path(work) / f"{name}.jsonl"
    _write(path, "\n".join(lines) + "\n")
    return {"name": name, "file": str(path), "batch_sizes": list(sizes)}


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
) -> list[dict[str, Any]]:
    """Return the rows of a candidate, from the original's answers and its own in the folder of the run."""
    known = json.loads((Path(work) / ASKED).read_text(encoding="utf-8"))
    labels = known["labels"]
    evidence = Evidence(
        answered(work, "original", known["batched"]),
        answered(work, candidate.kind, known["batched"]),
        known["groups"],
        known["recorded"],
        known["sizes"],
        known["batched"],
        None if labels is None else {int(number): each for number, each in labels.items()},
        wish.tolerances,
    )
    task: Task | None = wish.task_of(known["output"]) if known["output"] else None
    faces = gate.signatures(
        surveys[0]["signatures"], surveys[1]["signatures"], built.get("lost_signatures") or [], wish.lose_signatures
    )
    rows = [faces, *(gate.judge(candidate.kind, evidence, task) if faces.passed else [])]
    return [row.to_json() for row in rows]


def answered(work: str, name: str, batched: Sequence[int]) -> list[answers.Answer]:
    """Return the answers of a model, to all requests and to those that were answered in batches too."""
    found = answers.read(name, _lines(os.path.join(work, f"{name}-{REQUESTS}.jsonl")))
    if batched:
        others = answers.read(name, _lines(os.path.join(work, f"{name}-{BATCHED}.jsonl")))
        found += [replace(each, request=batched[each.request]) for each in others if each.request < len(batched)]
    return found


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as stream:
            yield from iter(lambda: stream.readline(answers.MOST_LINE_BYTES + 1), b"")
    except OSError as error:
        raise WishError(path, f"cannot be read ({error.strerror})", "look at the builder's log") from None


def unpacked(archive: str, folder: str) -> str:
    """Unpack a version into a new folder; return the digest of its files. Raises WishError for no plain tree."""
    try:
        os.mkdir(folder, 0o700)
        found = archives.survey(archive)
        archives.check_saved_model(found)
        return archives.tree_digest(archives.unpack(archive, "", folder, found.files))
    except (OSError, RefusalError) as error:
        problem = error.problem if isinstance(error, RefusalError) else f"cannot be unpacked ({error})"
        raise WishError(os.path.basename(archive), problem, "look at what was built") from None


def asked(wish: Wish, work: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requests and the candidates, from the builder's survey."""
    survey, original_of = given["survey"], given["original"]
    plan = original_of["instance"]
    place = Place(plan, original_of["model"], cpu_words(given["cpuinfo"]), (), given.get("gpus") or ())
    return {
        **choose(wish, place, survey),
        **ask(wish, work, plan, original_of["model"], survey["model"]),
        "limits": {"memory_mb": memory_mb(wish, survey["model"]), "seconds": int(wish.builder_s)},
        "tensorflow": survey.get("tensorflow"),
        "digest": unpacked(os.path.join(work, ORIGINAL), os.path.join(work, "original")),
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
    for told in (given["survey"], *given["answers"]):
        if not (told.get("surveyed") or told.get("answered")):
            return document.entry(given["candidate"], built, [not_built(told)])
    rows = judge(wish, work, candidate, built, (given["survey_before"]["model"], given["survey"]["model"]))
    return document.entry(given["candidate"], built, rows)


def not_built(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a candidate that the builder has given up."""
    why = str(told.get("why") or "the builder does not say why")
    return Row("build", verdicts.FAILED, why).to_json()


def concluded(
    wish: Wish, given: Mapping[str, Any], wished: Sequence[Mapping[str, Any]], inventory: str, work: str
) -> dict[str, Any]:
    """Choose a candidate, publish it, and write the reports; return the text and the new version, if there is one.

    :param wished: ``tfserving_models`` of the host; ``inventory`` the directory that its paths start from.
    """
    original_of, asked_of, output = given["original"], given["asked"], given["output"]
    begun = document.begun(
        wish.instance,
        given["host"],
        original_of["model"],
        {"version": original_of["version"], "digest": asked_of["digest"]},
        environment(given["conditions"], asked_of),
    )
    entries = [document.with_speed(each, given["speeds"].get(each["kind"]), wish.measure) for each in given["entries"]]
    done: Document = {**begun, "candidates": entries, "refused": asked_of["refused"], "requests": asked_of["described"]}
    done["chosen"] = document.choice(entries)
    results.make_room(output)
    if done["chosen"]:
        model = next((each for each in wished if each.get("name") == original_of["model"]), {})
        model = {**model, "name": original_of["model"]}
        known = [*given["versions"], original_of["version"], *numbers_of(model)]
        done["version"] = publication.number(wish.version, known, model, inventory)
        place = publication.target(model, done["version"], inventory, wish.publish_as, os.path.dirname(output) or ".")
        folder = os.path.join(work, done["chosen"])
        unpacked(f"{folder}.tar", folder)
        done["published"] = publication.publish(folder, place, done)
    file.write(f"{output}.json", results.written(done))
    file.write(f"{output}.md", document.markdown(done))
    page = file.write(f"{output}.html", document.page(done))
    return {"text": f"{document.text(done)}\n{page.as_uri()}", "version": done["version"], "document": done}


def environment(conditions: Mapping[str, Any], asked_of: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result holds for: the release, the machine, and the TensorFlow that built it."""
    known = {name: conditions.get(name) for name in ("server_version", "cpu", "cpus", "kernel")}
    return {**known, "tensorflow": asked_of.get("tensorflow"), "collection_version": caller.version()}


def numbers_of(wished: Mapping[str, Any]) -> list[int]:
    """Return the versions that a model's wish names."""
    serve = wished.get("serve") or {}
    held = [wished.get("version"), *(serve.get("versions") or []), *(serve.get("labels") or {}).values()]
    return [int(each) for each in held if str(each).isdecimal()]


def wish_of(given: Mapping[str, Any]) -> Wish:
    """Return a wish that has travelled through Ansible, which knows lists only."""
    tuples = {key: tuple(given[key]) for key in ("candidates", "lose_signatures")}
    return wishes.Wish(**{**given, **tuples})
