# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions fetched by the controller, once for all hosts of a run: asked for, brought here, hashed and pinned.

What the server said is noted in Ansible's temporary directory of the run, a refusal too: an alias is resolved once a
run, and a server that does not answer is not waited for again for each host.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.space import free_bytes, in_mib
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import now

from ..turn import turn
from . import credentials, mlflow, pins, s3, transfer
from .found import Found

Look = Callable[[Mapping[str, Any], int, Mapping[str, str], float], Found]

# What asks each type of source for a version, and what a version is called.
TYPES: dict[str, tuple[Look, Callable[[Mapping[str, Any], int], str]]] = {
    "mlflow": (mlflow.look, mlflow.told_of),
    "s3": (s3.look, s3.told_of),
}


@dataclass(frozen=True)
class Desk:
    """The controller's part: ``cache`` is for this run, ``pins`` stays; ``timeout`` is in seconds of silence.

    Without ``fetch``, servers are asked and nothing is fetched.
    """

    cache: str
    pins: str
    environ: Mapping[str, str]
    timeout: float
    fetch: bool


@dataclass(frozen=True)
class Import:
    """A version on the controller, with the checksum of its manifest; both are empty where nothing was fetched."""

    path: str
    sha256: str
    notes: list[str]


def told_of(source: Mapping[str, Any], version: int) -> str:
    """Return what a version is called in messages."""
    return TYPES[source["type"]][1](source, version)


def bring(source: Mapping[str, Any], version: int, wished: str | None, desk: Desk) -> Import:
    """Return a version, fetched by the first worker of a run that asks for it.

    ``source`` is checked and has its credentials, ``wished`` is the checksum in the wish. Raise RefusalError, or
    OSError for trouble with the controller's disk.
    """
    told = told_of(source, version)
    asked = json.dumps([told, source.get("alias"), desk.fetch, _referred(source)], sort_keys=True)
    place = os.path.join(desk.cache, f"tfserving-import-{hashlib.sha256(asked.encode()).hexdigest()[:32]}")
    note = f"{place}.json"
    with turn(f"{place}.lock"):
        if not os.path.exists(note):
            _note(note, _brought(source, version, place, desk))
        with open(note, encoding="utf-8") as file:
            found = json.load(file)
    if "refused" in found:
        raise RefusalError(*found["refused"])
    if not desk.fetch:
        return Import("", "", found["notes"])
    pins.settle(desk.pins, found["manifest"], wished)
    return Import(found["path"], found["manifest"]["sha256"], found["notes"])


def _referred(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return which credentials a source has, without values: hosts may differ, as one that has none is refused."""
    given = source.get("credentials") or {}
    return {name: None if isinstance(value, str) else dict(value) for name, value in given.items()}


def _note(path: str, found: Mapping[str, Any]) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.rename(f"{path}.new", path)


def _brought(source: Mapping[str, Any], version: int, place: str, desk: Desk) -> dict[str, Any]:
    try:
        found = TYPES[source["type"]][0](source, version, credentials.resolved(source, desk.environ), desk.timeout)
        if not desk.fetch:
            return {"notes": list(found.notes)}
        _require_room(found, desk.cache)
        return _fetched(found, told_of(source, version), place, desk.timeout)
    except RefusalError as refusal:
        shutil.rmtree(place, ignore_errors=True)
        return {"refused": [refusal.problem, refusal.remedy, refusal.key]}
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _require_room(found: Found, cache: str) -> None:
    # Folders are packed beside what was fetched.
    needed, free = found.size * (1 if found.archive else 2), free_bytes(cache)
    if needed > free:
        problem = f"it needs {in_mib(needed)} and {in_mib(free)} are free under {cache} on the controller"
        raise RefusalError(problem, "free space there, or set ANSIBLE_LOCAL_TEMP", "source")


def _fetched(found: Found, told: str, place: str, timeout: float) -> dict[str, Any]:
    os.mkdir(place, 0o700)
    digests, end = {}, time.monotonic() + transfer.time_for(found.files)
    for file in found.files:
        target = os.path.join(place, file.path)
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        digests[file.path] = transfer.fetch(file, target, timeout, end)
    only = found.files[0].path
    sha256 = digests[only] if found.archive else archives.tree_digest(digests)
    manifest = pins.Manifest(source=told, sha256=sha256, files=digests, imported=now())
    files = f"{len(digests)} files" if len(digests) > 1 else "1 file"
    imported = f"{told} was fetched, {files} of {in_mib(found.size)} together, sha256 {sha256}"
    path = os.path.join(place, only) if found.archive else place
    return {"path": path, "notes": [*found.notes, imported], "manifest": manifest}
