# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The request: one JSON file, checked before anything is started. What is wrong is said in one sentence."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1
TASKS = ("survey", "build", "answer")
# A request names files; it holds none.
LARGEST_REQUEST = 1024 * 1024
# TensorFlow alone takes 554 MB when it is imported (2.21, measured).
LEAST_MEMORY_MB = 700
MOST_MEMORY_MB = 16 * 1024 * 1024
LONGEST_S = 24 * 3600
MOST_CPUS = 4096
MOST_BATCH_SIZES = 256
LARGEST_BATCH = 65536
KINDS = ("freeze", "xla", "mixed_precision", "tflite_float", "tflite_int8", "tf_trt")
CHOICES = {
    "xla": {"how": ("attribute", "flags"), "device": ("cpu", "gpu")},
    "tf_trt": {"precision": ("FP32", "FP16")},
}
TEXTS = {"tflite_float": ("signature",), "tflite_int8": ("signature",), "tf_trt": ("gpu",)}

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:[-+.].{0,40})?")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,1024}")


class BadRequestError(Exception):
    """The request cannot be carried out as it stands. The text is a sentence for the user."""


@dataclass(frozen=True)
class Limits:
    """What the confined process may use."""

    memory_mb: int
    seconds: int
    cpus: int


@dataclass(frozen=True)
class Request:
    """A checked request."""

    task: str
    model: Path
    out: Path | None
    version: tuple[int, int, int]
    recipe: dict[str, Any] | None
    requests: Path | None
    limits: Limits
    batch_sizes: list[int | None] = field(default_factory=lambda: [None])

    @property
    def minor(self) -> tuple[int, int]:
        """Return the server's minor, whose TensorFlow is the newest that may write its models."""
        return self.version[:2]


def read(path: Path) -> Request:
    """Read and check a request. Raises BadRequestError."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_REQUEST + 1)
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read: {(error.strerror or 'unknown error').lower()}") from error
    if len(text) > LARGEST_REQUEST:
        raise BadRequestError(f"{path} is larger than {LARGEST_REQUEST >> 20} MiB")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{path} is not JSON") from error
    return checked(value)


def checked(value: Any) -> Request:
    """Check a request. Raises BadRequestError."""
    _need(isinstance(value, dict), "a request must be a mapping")
    _need(value.get("schema") is not True and value.get("schema") == SCHEMA, f"schema must be {SCHEMA}")
    task = value.get("task")
    _need(task in TASKS, f"task must be {' or '.join(TASKS)}")
    model = _path(value, "model")
    _need(model is not None, "model must be the absolute path of a version directory")
    out = _path(value, "out")
    _need(task == "survey" or out is not None, "out must be an absolute path")
    requests = _path(value, "requests")
    _need(task != "answer" or requests is not None, "requests must be the absolute path of a file of requests")
    recipe = value.get("recipe")
    _need(recipe is not None or task != "build", "recipe must be a mapping with a kind")
    return Request(
        str(task),
        model or Path(),
        out,
        _version(value.get("server_version")),
        None if recipe is None else checked_recipe(recipe),
        requests,
        _limits(value.get("limits")),
        _batch_sizes(value.get("batch_sizes")),
    )


def _need(fine: bool, sentence: str) -> None:
    if not fine:
        raise BadRequestError(sentence)


def _path(value: dict[str, Any], key: str) -> Path | None:
    path = value.get(key)
    if path is None:
        return None
    _need(isinstance(path, str) and os.path.isabs(path) and "\0" not in path, f"{key} must be an absolute path")
    _need(len(path) < 4096, f"{key} is longer than a path can be")
    return Path(os.path.normpath(path))


def _version(value: Any) -> tuple[int, int, int]:
    found = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadRequestError("server_version must be a release such as 2.19.1")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def checked_recipe(recipe: Any) -> dict[str, Any]:
    """Check a recipe, and fill in what was left out. Raises BadRequestError."""
    kind = recipe.get("kind") if isinstance(recipe, dict) else None
    _need(isinstance(kind, str) and kind in KINDS, f"recipe.kind must be {' or '.join(KINDS)}")
    choices, texts = CHOICES.get(str(kind), {}), TEXTS.get(str(kind), ())
    for key in recipe:
        _need(key in ("kind", *choices, *texts), f"recipe.{str(key)[:40]!r} is nothing that {kind} knows")
    for key, words in choices.items():
        _need(recipe.get(key, words[0]) in words, f"recipe.{key} must be {' or '.join(words)}")
    for key in texts:
        text = recipe.get(key)
        _need(text is None or (isinstance(text, str) and bool(_TEXT.fullmatch(text))), f"recipe.{key} must be a name")
    return {**{key: words[0] for key, words in choices.items()}, **recipe}


def _limits(value: Any) -> Limits:
    _need(isinstance(value, dict), "limits must be a mapping with memory_mb and seconds")
    return Limits(
        _whole(value, "memory_mb", LEAST_MEMORY_MB, MOST_MEMORY_MB),
        _whole(value, "seconds", 1, LONGEST_S),
        _whole({"cpus": os.cpu_count() or 1, **value}, "cpus", 1, MOST_CPUS),
    )


def _whole(value: dict[str, Any], key: str, low: int, high: int) -> int:
    found = value.get(key)
    if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
        raise BadRequestError(f"limits.{key} must be a whole number from {low} to {high}")
    return found


def _batch_sizes(value: Any) -> list[int | None]:
    if value is None:
        return [None]
    fits = isinstance(value, list) and 1 <= len(value) <= MOST_BATCH_SIZES
    for size in value if fits else ():
        whole = isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= LARGEST_BATCH
        fits = fits and (size is None or whole)
    _need(
        fits,
        f"batch_sizes must be a list of 1 to {MOST_BATCH_SIZES} whole numbers from 1 to {LARGEST_BATCH}, or null for "
        "requests as they are",
    )
    return list(value)
