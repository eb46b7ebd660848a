# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The file that holds the plan in force on a host: read as possibly damaged, written durably."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from ..disk import durable, folders, plain_files
from ..disk.record import text
from ..errors import WishError, kind, nearest
from . import plan_key

# Schema of the plans that this release writes and reads.
SCHEMA = 1
# The plan of a host with 64 instances and hundreds of models takes less than 1 MB.
LIMIT = 16 << 20
# A plan reveals who serves what, how it is protected and which versions are vulnerable.
MODE = 0o600
# A key of the record that is not part of the plan.
PREVIOUS = "previous_server"
REMEDY = "move it away and run again"

_TEXT = (str, "a string")
_NUMBER = (int, "a number")
_MAPPING = (Mapping, "a mapping")
_RELEASE = {name: _TEXT for name in ("id", "path", "binary", "source", "digest")}
_SERVER = {"version": _TEXT, "method": _TEXT, "release": _RELEASE}
# The keys that roles and modules read from a plan without checking.
_SHAPE = {
    "schema": _NUMBER,
    "server": _SERVER,
    "previous_server": _SERVER,
    "paths": _MAPPING,
    "instances": [
        {
            "name": _TEXT,
            "ports": {"grpc": _NUMBER, "rest": _NUMBER},
            "models": [_TEXT],
            "flags": _MAPPING,
            "environment": _MAPPING,
            "unit": _MAPPING,
        }
    ],
    "models": [{"name": _TEXT, "versions": [_NUMBER]}],
    "warnings": [_TEXT],
}


def read(path: str) -> dict[str, Any]:
    """Return the plan recorded at ``path``, or an empty dictionary if there is none."""
    try:
        content = plain_files.read(path, LIMIT)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WishError(path, f"cannot be read ({error.strerror})", REMEDY) from error
    record: dict[str, Any] = _parsed(path, content)
    _check(path, "", record, _SHAPE)
    if record.get("schema", SCHEMA) > SCHEMA:
        remedy = "use that release or a later one"
        raise WishError(path, f"was written by a later release of the collection (schema {record['schema']})", remedy)
    return record


def in_force(path: str) -> dict[str, Any]:
    """Return ``plan``, and whether it is ``recorded`` exactly as this release would write it again."""
    kept = read(path)
    present = plan_key.without_values(kept)
    return {"plan": separate(present)[0], "recorded": present == kept and not is_open(path)}


def instance(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the plan's entry of the instance ``name``. Raises WishError if it has none."""
    known = {entry["name"]: entry for entry in plan.get("instances", [])}
    if name not in known:
        remedy = nearest(name, known) or f"the plan has {', '.join(sorted(known)) or 'no instance'}"
        raise WishError("instance", f"{name} is not in the plan of this host", remedy)
    found: dict[str, Any] = known[name]
    return found


def separate(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plan in a record, and what the record says of the previous server."""
    plan = dict(record)
    return plan, plan.pop(PREVIOUS, {})


def is_open(path: str) -> bool:
    """Return whether others may read the record, as they could in release 0.1.0."""
    return os.path.exists(path) and stat.S_IMODE(os.stat(path).st_mode) != MODE


def _parsed(path: str, content: bytes) -> Any:
    try:
        return plain_files.parsed(content)
    except UnicodeDecodeError as error:
        raise WishError(path, f"is not text in UTF-8 (byte {error.start})", REMEDY) from error
    except json.JSONDecodeError as error:
        problem = f"is not complete JSON ({error.msg}, line {error.lineno})" if content.strip() else "is empty"
        raise WishError(path, problem, REMEDY) from error
    except ValueError as error:
        raise WishError(path, f"is not the JSON of a plan ({error})", REMEDY) from error


def _check(path: str, where: str, value: Any, shape: Any) -> None:
    """Refuse a ``value`` that does not match ``shape``; missing and unknown keys are ignored."""
    expected = (list, "a list") if isinstance(shape, list) else _MAPPING if isinstance(shape, dict) else shape
    if not isinstance(value, expected[0]) or isinstance(value, bool):
        problem = f"{where} is {kind(value)} where" if where else f"holds {kind(value)} where"
        raise WishError(path, f"{problem} a plan has {expected[1]}", REMEDY)
    if isinstance(shape, list) and isinstance(value, list):
        for number, each in enumerate(value):
            _check(path, f"{where}[{number}]", each, shape[0])
            _check_name(path, f"{where}[{number}]", each, shape[0])
    elif isinstance(shape, dict) and isinstance(value, Mapping):
        for name in shape.keys() & value.keys():
            _check(path, f"{where}.{name}" if where else name, value[name], shape[name])


def _check_name(path: str, where: str, value: Any, shape: Any) -> None:
    if isinstance(shape, dict) and "name" in shape and "name" not in value:
        raise WishError(path, f"{where} has no name", REMEDY)


def as_text(plan: Mapping[str, Any]) -> str:
    """Return the text of the record."""
    return text(plan) if plan else ""


def write(path: str, plan: Mapping[str, Any]) -> None:
    """Replace the record with ``plan`` durably, readable by its owner alone from the first byte on."""
    try:
        folders.make(os.path.dirname(path))
        durable.write(path, as_text(plan).encode(), MODE)
    except OSError as error:
        raise WishError(path, f"cannot be written ({os.strerror(error.errno or errno.EIO)})", "") from error
