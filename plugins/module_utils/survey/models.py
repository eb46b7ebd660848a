# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models of a server on disk: their versions, and the checksums by which they are wished for."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ..diagnosis import files
from ..disk.archives import directory_digest
from ..errors import RefusalError
from ..host.sysfs import Tree
from ..saved_model.version_names import number
from ..visible_text import told
from . import secrets
from .inside import Inside
from .model_configs import Model
from .named_files import is_local

MOST_VERSIONS = 8
MOST_LISTED = 1000
MIB = 1 << 20
# What a slow disk and one core read and hash in a second, in MiB: a version that would take longer is not begun.
_RATE = 100


class Budget:
    """The time that checksums may take altogether. Without any, none is worked out."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        # Servers of one host often share their models: each folder is read once.
        self.known: dict[tuple[int, int], Mapping[str, Any]] = {}

    def allows(self, size_mb: float) -> bool:
        """Return whether there is time to read so much."""
        return time.monotonic() + size_mb / _RATE < self.end


def read(inside: Inside, model: Model, budget: Budget) -> dict[str, Any]:
    """Return what lies in a model's base path. Never raises OSError: what cannot be read is told in ``error``."""
    row: dict[str, Any] = {
        "name": told(model.name, 500),
        "base_path": secrets.text(model.base_path),
        "host_path": None,
        "versions_on_disk": [],
        "sha256": {},
        "size_mb": None,
        "labels": {told(label, 200): version for label, version in model.labels.items()},
        "error": None,
    }
    if not is_local(model.base_path):
        return {**row, "error": "its base path is not on this host"}
    try:
        with inside.opened(model.base_path) as base:
            host_path = inside.on_host(model.base_path)
            shown = None if host_path is None else told(host_path, 4096)
            return {**row, "host_path": shown, **_versions(inside, model.base_path, base, budget)}
    except OSError as error:
        return {**row, "error": _why(error)}


def _versions(inside: Inside, base_path: str, base: str, budget: Budget) -> dict[str, Any]:
    named = {found: name for name in sorted(os.listdir(base)) if (found := number(name)) is not None}
    rows: dict[int, Mapping[str, Any]] = {}
    for version in sorted(named, reverse=True):
        row = _version(inside, f"{base_path}/{named[version]}", budget if len(rows) < MOST_VERSIONS else None)
        # A file whose name is a number is no version.
        rows.update({version: row} if row else {})
    known = [row for row in rows.values() if row is not _UNREAD]
    sizes = [row["size_mb"] for row in known]
    return {
        "versions_on_disk": sorted(rows)[-MOST_LISTED:],
        "sha256": {str(version): row["sha256"] for version, row in sorted(rows.items()) if row["sha256"]},
        "size_mb": None if not sizes or None in sizes else round(sum(sizes), 2),
        "error": next((row["error"] for row in known if row["error"]), None),
    }


_UNREAD: Mapping[str, Any] = {"size_mb": None, "sha256": None, "error": None}


def _version(inside: Inside, path: str, budget: Budget | None) -> Mapping[str, Any] | None:
    """Return size and checksum of a version, that of the tree as a model's source has it; None if it is no folder."""
    try:
        with inside.opened(path) as place:
            # Through the handle: a path of this process would lead into the host's files.
            folder = f"{place}/."
            if not os.path.isdir(folder):
                return None
            if budget is None:
                return _UNREAD
            found = os.stat(folder)
            key = (found.st_dev, found.st_ino)
            budget.known[key] = budget.known.get(key) or _measured(folder, budget)
            return budget.known[key]
    except OSError as error:
        return {**_UNREAD, "error": _why(error)}


def _measured(folder: str, budget: Budget) -> Mapping[str, Any]:
    size = files.size_mb(Tree("/"), folder)
    if size is None or not budget.allows(size):
        why = "it is too large for its checksum to be worked out in the time of a survey"
        return {**_UNREAD, "size_mb": size, "error": why}
    try:
        return {**_UNREAD, "size_mb": size, "sha256": directory_digest(folder)}
    except RefusalError as error:
        return {**_UNREAD, "size_mb": size, "error": told(str(error), 300)}


def _why(error: OSError) -> str:
    return told(os.strerror(error.errno) if error.errno else str(error), 200)
