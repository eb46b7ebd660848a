# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The journal of a search: what it was told, as JSON lines, from which a killed run resumes.

The first line says what is tuned; then the measured service times, then each trial with its outcome.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .queueing import Load
from .search import Search
from .service_time import Point
from .space import Context
from .trial import Outcome, Trial, outcome_from_json, trial_from_json

SCHEMA = 1
# A search has some 50 trials, at 2 KB each.
LARGEST = 4 * 1024 * 1024
# What a journal belongs to, as a refusal names it.
PARTS = {
    "instance": "another instance",
    "plan": "another plan",
    "models": "other models",
    "slo_p99_ms": "another objective",
    "options": "other options of the search",
}


def identity(
    context: Context, models: Mapping[str, Any], slo_p99_ms: float, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a journal belongs to.

    :param models: the served versions of each model.
    """
    plan = context.planned()
    # The digest has what restarts a server; the host and the objective decide as well.
    host = json.dumps([plan["digest"], plan["cpus"], plan["profile"]], sort_keys=True)
    return {
        "instance": context.instance,
        "plan": hashlib.sha256(host.encode()).hexdigest()[:16],
        "models": dict(models),
        "slo_p99_ms": slo_p99_ms,
        "options": dict(options),
    }


@dataclass
class Record:
    """What a journal holds."""

    identity: dict[str, Any]
    began: str
    points: list[Point] = field(default_factory=list)
    """The measured service times, empty where the run ended before."""
    load: Load | None = None
    wished: float | None = None
    """The items a second that callers will send, where that is known."""
    told: list[tuple[Trial, Outcome]] = field(default_factory=list)


class Journal:
    """The file of a journal, to which a run appends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, what: Mapping[str, Any], began: str) -> None:
        """Write the first line, over an earlier journal."""
        self.path.write_text("", encoding="utf-8")
        self._append({"schema": SCHEMA, "identity": what, "began": began})

    def points(self, points: Sequence[Point], load: Load, wished: float | None) -> None:
        """Add the measured service times, and the load that the search is for: predictions depend on both."""
        self._append({"points": [vars(point) for point in points], "load": vars(load), "wished": wished})

    def told(self, trial: Trial, outcome: Outcome) -> None:
        """Add a trial and its outcome."""
        self._append({"trial": trial.to_json(), "outcome": outcome.to_json()})

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read(path: Path, what: Mapping[str, Any]) -> Record | None:
    """Return the journal of an earlier run, or None if there is none.

    A last line that was cut off is dropped, also from the file. Raise WishError for the journal of something else, and
    for a damaged one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    if len(data) > LARGEST:
        raise _damaged(path, "is larger than any journal")
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return None
    record = _parsed(path, whole)
    for part, other in PARTS.items():
        if record.identity.get(part) != json.loads(json.dumps(what.get(part))):
            problem = f"is the journal of {other}, so its trials cannot be compared with new ones"
            raise WishError(str(path), problem, "remove it to begin anew, or undo the change to go on")
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return record


def _parsed(path: Path, data: bytes) -> Record:
    try:
        first, *rest = [json.loads(line) for line in data.decode("utf-8").splitlines()]
        if first.get("schema") != SCHEMA:
            raise _damaged(path, "is of another release of this collection")
        record = Record(dict(first["identity"]), str(first["began"]))
        for line in rest:
            if "points" in line:
                record.points = [Point(int(each["items"]), float(each["us"])) for each in line["points"]]
                record.load, record.wished = Load(**line["load"]), line["wished"]
            else:
                record.told.append((trial_from_json(line["trial"]), outcome_from_json(line["outcome"])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, WishError):
            raise
        raise _damaged(path, "cannot be read") from None
    return record


def replay(path: Path, record: Record, search: Search) -> None:
    """Tell a new search all that an earlier one was told; raise WishError if it would have asked for something else."""
    for number, (trial, outcome) in enumerate(record.told, 1):
        if search.next() != trial:
            raise _damaged(path, f"has as trial {number} what this release would not try")
        search.tell(trial, outcome)


def _damaged(path: Path, problem: str) -> WishError:
    return WishError(str(path), problem, "remove it to begin anew")
