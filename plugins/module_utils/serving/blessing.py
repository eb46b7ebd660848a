# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What versions of a model have been proven on this host, and by what: one record a model.

An entry names the content of the version, the server, the golden file and the contract that it is about; with any other
of them nothing is proven yet. It holds the result of the last round: a proof ends with the first round that fails, and
a failure with the first round in which every request is right.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from ..disk.record import Record
from .check import Expectation, Probe

FOLDER = "blessings"
SCHEMA = 1
# Versions that a record remembers, the newest ones.
MOST_VERSIONS = 20
# models/store.py writes it beside the versions.
_MARKER = os.path.join(".published", "{version}.json")
_MOST_MARKER = 1 << 20

_ENTRY = {"tree": str, "server": str, "golden": str, "contract": str, "proven": bool, "words": str, "at": str}
_SHAPE = {"schema": int, "versions": {str: _ENTRY}}


def record(folder: str, model: str) -> Record:
    """Return the record of a model below ``folder``."""
    return Record(os.path.join(folder, f"{model}.json"), _SHAPE, schema=SCHEMA)


def keep(folder: str, expected: Expectation, server: str, found: Probe) -> None:
    """Record the result of a proof of the version that answers, of a model with golden requests. Raises OSError.

    Versions with a proof of their own get an entry each. Nothing is written where only the time would be another.
    """
    for part, result in found.parts or ((expected, found),):
        _keep(folder, part, server, result)


def _keep(folder: str, expected: Expectation, server: str, found: Probe) -> None:
    version = max(expected.versions, default=None)
    if not expected.golden or found.ok is None or version is None:
        return
    kept = record(folder, expected.model)
    versions = dict((kept.found() or {}).get("versions") or {})
    entry = {
        "tree": _tree(expected.base_path, version),
        "server": server,
        "golden": str(expected.golden.get("sha256", "")),
        "contract": _digest(expected.contract) if expected.contract else "",
        "proven": found.ok,
        "words": found.golden if found.ok else found.note,
    }
    before = versions.get(str(version)) or {}
    if {**before, "at": ""} == {**entry, "at": ""}:
        return
    versions[str(version)] = {**entry, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    newest = sorted(versions, key=_number)[-MOST_VERSIONS:]
    kept.save({"schema": SCHEMA, "versions": {each: versions[each] for each in newest}})


def entry(folder: str, model: str, version: int) -> dict[str, Any]:
    """Return what is recorded of a version; empty if nothing is."""
    found = record(folder, model).found() or {}
    return dict((found.get("versions") or {}).get(str(version)) or {})


def _tree(base_path: str, version: int) -> str:
    """Return the digest of a published version's source; empty for one that was put there by hand."""
    try:
        marker = plain_files.json_of(os.path.join(base_path, _MARKER.format(version=version)), _MOST_MARKER)
    except (OSError, ValueError):
        return ""
    tree = marker.get("tree") if isinstance(marker, Mapping) else ""
    return tree if isinstance(tree, str) else ""


def _digest(contract: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contract, sort_keys=True).encode()).hexdigest()


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else -1
