# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person asks of an optimisation, checked before anything is read or built."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, key_path, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from ..benchmark import options as benchmark_options
from ..benchmark import wishes as benchmark_wishes
from ..benchmark.options import boolean, number, one_of, seconds, text, whole
from ..tables.read import table
from .measures import TASKS, TOP, Task

Check = Callable[[str, Any], Any]

# What may be lost where nobody says: 500 requests without a loss prove 1.07 %, and leave nothing for a real one.
LOSS = 0.02
# Of a list's first items one in twenty.
TOP_LOSS = 0.05
# TensorFlow takes 0.55 GB when it is imported, and a conversion holds its model four times.
LEAST_MEMORY_MB, MOST_MEMORY_MB = 700, 1 << 20
USUAL_BUILD_S = 1800.0
# The server's versions are 64 bits.
MOST_VERSION = 2**63 - 1

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class Wish:
    """An optimisation as asked for; None is left to the run."""

    instance: str
    model: str | None
    version: int | None
    candidates: tuple[str, ...]
    requests: str | None
    labels: str | None
    task: str | None
    answer: str | None
    """The output that callers use."""
    max_loss: float | None
    max_top_loss: float
    top: int
    tolerances: Mapping[str, Mapping[str, float]]
    lose_signatures: tuple[str, ...]
    publish_as: str | None
    builder_memory_mb: int | None
    builder_s: float
    measure: bool

    def task_of(self, output: str) -> Task | None:
        """Return the task with what may be lost of it."""
        if self.task is None:
            return None
        given = {} if self.max_loss is None else {"score_loss": self.max_loss}
        return Task(self.task, output, self.max_loss or LOSS, self.max_top_loss, self.top, **given)

    @property
    def needs_requests(self) -> bool:
        """Whether a candidate is asked for that only recorded requests can judge."""
        return any(not treatments()[kind].get("exact") for kind in self.candidates)


def treatments() -> Mapping[str, Mapping[str, Any]]:
    """Return the table of treatments."""
    found: Mapping[str, Mapping[str, Any]] = table("treatments")["treatments"]
    return found


def kinds(path: str, value: Any) -> tuple[str, ...]:
    """Check names of treatments, as a list or as text with commas; ``all`` stands for every one."""
    known = tuple(treatments())
    if value == "all":
        return known
    names = [str(each).strip() for each in (value if isinstance(value, list) else str(value).split(","))]
    for name in names:
        if name not in known:
            raise WishError(
                path,
                f"{described(name)} is no candidate",
                nearest(name, known) or f"use all, or some of: {', '.join(known)}",
            )
    return tuple(kind for kind in known if kind in names)


def names(path: str, value: Any) -> tuple[str, ...]:
    """Check names, as a list or as text with commas."""
    found = [str(each).strip() for each in (value if isinstance(value, list) else str(value).split(","))]
    for each in found:
        name(path, each)
    return tuple(found)


def name(path: str, value: Any) -> str:
    """Check the name of a model, an output or a signature."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise WishError(path, f"is {described(value)}", "give a name")
    return value


def version(path: str, value: Any) -> int:
    """Check the number of a new version."""
    found = re.fullmatch(r"[0-9]{1,19}", str(value)) if not isinstance(value, bool) else None
    if not found or not 1 <= int(value) <= MOST_VERSION:
        raise WishError(path, f"is {described(value)}", "give the number of a version that does not exist, 1 or more")
    return int(value)


def tolerances(path: str, value: Any) -> dict[str, dict[str, float]]:
    """Check tolerances by output, a mapping or its JSON: ``{"score": {"atol": 0.01, "rtol": 0.001}}``."""
    example = 'write {"OUTPUT": {"atol": 0.01, "rtol": 0.001}}'
    try:
        given = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise WishError(path, "is no JSON", example) from None
    if not isinstance(given, Mapping) or not given:
        raise WishError(path, f"is {described(given)}", example)
    return {name(path, output): _tolerance(key_path(path, output), held, example) for output, held in given.items()}


def _tolerance(path: str, held: Any, example: str) -> dict[str, float]:
    if not isinstance(held, Mapping) or not held or set(held) - {"atol", "rtol"}:
        raise WishError(path, f"is {described(held)}", example)
    return {key: number(0, 1e12)(f"{path}.{key}", value) for key, value in held.items()}


FIELDS: Mapping[str, tuple[Check, Any]] = {
    "model": (name, None),
    "version": (version, None),
    "candidates": (kinds, ("freeze",)),
    "requests": (text, None),
    "labels": (text, None),
    "task": (one_of(TASKS), None),
    "answer": (name, None),
    "max_loss": (number(0.0001, 0.5), None),
    "max_top_loss": (number(0.0001, 0.5), TOP_LOSS),
    "top": (whole(1, 100_000), TOP),
    "tolerances": (tolerances, {}),
    "lose_signatures": (names, ()),
    "publish_as": (text, None),
    "builder_memory": (whole(LEAST_MEMORY_MB, MOST_MEMORY_MB), None),
    "builder_time": (seconds(10, 24 * 3600.0), USUAL_BUILD_S),
    "measure": (boolean, True),
}
"""The variables of optimize_model.yml that benchmark.yml has not: the check of each, and its default."""

RENAMED = {"builder_memory": "builder_memory_mb", "builder_time": "builder_s"}


# The first host of this group builds, or the controller.
GROUP = "tfserving_builder"
CONTROLLER = "this-builder"


def refuse_misspelt(extra: Collection[str], known: Collection[str]) -> None:
    """Refuse names given with -e that are close to a variable, since Ansible would ignore them."""
    refusals = Refusals()
    for error in benchmark_wishes.misspelt(extra, {*FIELDS, *benchmark_options.FIELDS}, known):
        refusals.add(WishError(error.path, "is no variable of an optimisation", error.remedy))
    refusals.stop()


def require_file(path: str) -> None:
    """Refuse a file that is not there, before a host is touched."""
    if not os.path.isfile(os.path.expanduser(path)):
        raise WishError("requests", f"{path} is no file", "give the path of a file of JSON lines on the controller")


def read(given: Mapping[str, Any]) -> Wish:
    """Return the wish; all refusals are raised at once as WishError."""
    refusals, found = Refusals(), {}
    for key, (check, default) in FIELDS.items():
        value = given.get(key)
        found[key] = default if value in (None, "") else refusals.check(check, key, value, default=default)
    instance = given.get("instance")
    if instance in (None, ""):
        refusals.add(WishError("instance", "is missing", "name one with -e instance=..."))
    refusals.stop()
    wish = Wish(instance=str(instance), **{RENAMED.get(key, key): value for key, value in found.items()})
    _refuse_contradictions(wish, refusals)
    refusals.stop()
    return wish


def _refuse_contradictions(wish: Wish, refusals: Refusals) -> None:
    rounding = [kind for kind in wish.candidates if not treatments()[kind].get("exact")]
    for contradicts, key, problem, remedy in (
        (
            bool(rounding) and wish.requests is None,
            "candidates",
            f"asks for {', '.join(rounding)}, and without recorded requests nobody can tell what is lost",
            "give recorded requests with -e requests=FILE, or ask for freeze alone",
        ),
        (
            bool(rounding) and wish.requests is not None and wish.task is None,
            "task",
            f"is missing, and {', '.join(rounding)} is judged by what callers use the answer for",
            f"give one of: {', '.join(TASKS)}",
        ),
        (
            wish.labels is not None and wish.requests is None,
            "labels",
            "belong to recorded requests",
            "give them with -e requests=FILE",
        ),
        (
            wish.labels is not None and wish.task == "embedding",
            "labels",
            "say nothing about an embedding",
            "leave them out, or name the task that they belong to",
        ),
    ):
        if contradicts:
            refusals.add(WishError(key, problem, remedy))
