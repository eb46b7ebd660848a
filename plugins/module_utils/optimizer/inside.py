# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The confined process: checks its own confinement, does the task, and prints the result."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from . import answers, compiled, confinement, files, freeze, lite, recipes, supervisor, tensorrt, trial
from .request import Request, read
from .runtime import FailureError, release, sentence, tensorflow
from .survey import survey


def run(file: Path) -> int:
    """Carry out the request of a file; print the result and return the exit code."""
    # TensorFlow writes to both; the result goes where nothing else does.
    told = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    request = read(file)
    confinement.narrow(request.limits.cpus)
    result: dict[str, Any] = {"confinement": confinement.in_force()}
    try:
        result.update(_checked(request, result["confinement"]))
    except FailureError as error:
        result["why"] = str(error)
    except MemoryError:
        raise
    except Exception as error:  # whatever else a model sets off is told, not shown
        result["why"] = f"TensorFlow fails with {type(error).__name__}: {sentence(error)}"
    if "tensorflow" in sys.modules:
        result["tensorflow"] = tensorflow().__version__
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with told:
        json.dump(result, told)
    return 0


def _checked(request: Request, confined: dict[str, object]) -> dict[str, Any]:
    if confined["network"] != "none":
        raise FailureError(f"the confined process sees the network ({confined['network']}), so no model is loaded")
    if confined["memory"] == "none":
        raise FailureError("the confined process has no bound on its memory, so no model is loaded")
    files.sizes(request.model)
    _fits_release(request)
    found = survey(request.model)
    if request.task == "survey":
        return {"surveyed": True, "model": found, "candidates": recipes.candidates(found, request.version)}
    if found["refused_ops"]:
        named = ", ".join(found["refused_ops"])
        raise FailureError(f"the model's graph reads or writes files, or runs Python ({named}), so it is not run here")
    place = supervisor.partial(request)
    if place is None:
        raise FailureError("out is missing")
    out = supervisor.made(place)
    return _answered(request, out) if request.task == "answer" else _built(request, out, found)


def _fits_release(request: Request) -> None:
    """Refuse a TensorFlow that is newer than the server: graphs are read by their own minor or a newer one."""
    if release() > request.minor:
        here, there = ".".join(map(str, release())), ".".join(map(str, request.minor))
        raise FailureError(
            f"the builder's TensorFlow is {here} and the server's {there}, which reads no newer graphs: use the "
            f"environment of {there}"
        )


def _answered(request: Request, place: Path) -> dict[str, Any]:
    if request.requests is None:
        raise FailureError("requests are missing")
    counts = answers.answer(request.model, place, request.requests, request.batch_sizes, request.recipe)
    return {"answered": True, **counts}


def _built(request: Request, place: Path, found: dict[str, Any]) -> dict[str, Any]:
    recipe = request.recipe or {}
    why = recipes.refusal(recipe, found, request.version)
    if why:
        raise FailureError(why)
    _build(request.model, place, recipe, found)
    lost = recipes.lost(recipe, found)
    _keep_signatures(found, place, recipe)
    # A graph that was rewritten may load and not run. One that parses examples cannot be shown made-up ones.
    trial.run_once(place, [name for name, each in found["signatures"].items() if not each["parses_examples"]])
    made = {"size_mb": files.size_mb(place), "lost_signatures": lost}
    return {"built": True, **made, **recipes.needs(recipe).plain()}


def _build(model: Path, out: Path, recipe: dict[str, Any], found: dict[str, Any]) -> None:
    kind = recipe["kind"]
    if kind == "freeze":
        freeze.freeze(model, out)
    elif kind == "xla" and recipe["how"] == "attribute":
        compiled.compile_signatures(model, out, found)
    elif kind.startswith("tflite"):
        name = recipe.get("signature") or next(iter(found["signatures"]))
        lite.convert(model, out, name, quantised=kind == "tflite_int8")
    elif kind == "tf_trt":
        tensorrt.convert(model, out, recipe)
    else:
        # What changes is the server's flags; the model is copied as it is.
        files.take_over(model, out, ())


def _keep_signatures(before: dict[str, Any], place: Path, recipe: dict[str, Any]) -> None:
    """Refuse a candidate whose signatures are not the model's."""
    after = survey(place)["signatures"]
    faces = [
        {name: {key: each[key] for key in ("method", "inputs", "outputs")} for name, each in signatures.items()}
        for signatures in (before["signatures"], after)
    ]
    if faces[0] != faces[1]:
        differing = sorted(name for name in {*faces[0], *faces[1]} if faces[0].get(name) != faces[1].get(name))
        raise FailureError(f"{recipe['kind']} changed the signature {differing[0][:100]}, which callers rely on")
