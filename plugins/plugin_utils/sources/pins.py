# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Manifests of imported versions, kept on the controller: a version that has been imported once stays what it was.

A registry and a bucket give no digest. So the first import of a version computes the SHA-256 of each of its files, and
later ones, for hosts that lack it, must bring the same. One file in the folder of pins is one version.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import durable, plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archive_entries import shown
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import SHA256
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError

from ..turn import turn

SCHEMA = 1
# Ten thousand files with long names.
MOST_BYTES = 32 * 1024 * 1024


class Manifest(TypedDict):
    """A version as imported; ``sha256`` is that of the archive, or of a folder's listing (archives.tree_digest)."""

    source: str
    sha256: str
    files: dict[str, str]
    """SHA-256 by path."""
    imported: str
    """When, in UTC."""


def path_of(folder: str, source: str) -> str:
    """Return the path of a version's manifest; ``source`` is what the version is called."""
    return os.path.join(folder, f"{hashlib.sha256(source.encode()).hexdigest()[:32]}.json")


def settle(folder: str, manifest: Manifest, wished: str | None) -> None:
    """Remember a version, or refuse one that is not what was imported before under its number.

    ``wished`` is the checksum in the wish, which is the users' own pin and takes the place of the one here. A version
    with another one is not remembered; whoever sends it compares them.
    """
    if wished and wished != manifest["sha256"]:
        return
    path = path_of(folder, manifest["source"])
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with turn(os.path.join(folder, ".lock")):
            before = _read(path)
            if before and before["sha256"] != manifest["sha256"] and not wished:
                raise RefusalError(
                    f"it is not what was imported at {before['imported']}: {_difference(before, manifest)}",
                    f"publish it under a new number, or give source.sha256: {manifest['sha256']} if that is meant",
                    "source",
                )
            if before is None or before["sha256"] != manifest["sha256"]:
                text = json.dumps({"schema": SCHEMA, **manifest}, indent=1, sort_keys=True)
                durable.write(path, f"{text}\n".encode(), 0o600)
    except OSError as error:
        problem = f"its manifest cannot be kept in {folder} on the controller ({error.strerror or error})"
        remedy = "set model_repository_imports to a directory on the controller that can be written"
        raise RefusalError(problem, remedy, "source") from error


def _read(path: str) -> Mapping[str, Any] | None:
    try:
        found = plain_files.json_of(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    shape = {"schema": SCHEMA, "sha256": str, "files": dict, "imported": str}
    known = isinstance(found, dict) and all(
        isinstance(found.get(key), kind) if isinstance(kind, type) else found.get(key) == kind
        for key, kind in shape.items()
    )
    if not known or not SHA256.fullmatch(found["sha256"]):
        raise RefusalError(f"{path} on the controller is no manifest", "remove it if you trust the source", "source")
    return dict(found)


def _difference(before: Mapping[str, Any], after: Manifest) -> str:
    old, new = before["files"], after["files"]
    for names, words in (
        ([name for name in sorted(new) if name in old and old[name] != new[name]], "has other content"),
        (sorted(old.keys() - new.keys()), "is gone"),
        (sorted(new.keys() - old.keys()), "is new"),
    ):
        if names:
            return f"{shown(names[0])} {words}"
    return "its listing has changed"
