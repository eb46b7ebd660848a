# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence kept on the controller: a folder with a file a host, so that a diagnosis can be repeated and compared."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import durable, plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

# Of the evidence that this release writes and reads.
SCHEMA = 1
# That of a host with eight instances of 2,000 threads takes 5 MB.
MOST_BYTES = 64 << 20
MOST_FILES = 2000
MODE, FOLDER_MODE = 0o600, 0o700
_SAMPLE = {"at": (int, float), "instances": {str: dict}}
_SHAPE = {
    "schema": int,
    "host": str,
    "plan": (dict, type(None)),
    "unread": [{"source": str, "why": str}],
    "samples": [_SAMPLE],
    "facts": dict,
    "instances": {str: dict},
    "gpus": (list, type(None)),
    "kernel_log": [str],
    "processes": [dict],
    "gateway": (dict, type(None)),
}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


def folder_named(given: str, now: datetime) -> str:
    """Return the folder for a diagnosis: the given one, or one with the time in its name."""
    return os.path.abspath(os.path.expanduser(given or f"diagnosis-{now:%Y%m%d-%H%M%S}"))


def write(folder: str, evidence: Mapping[str, Any]) -> str:
    """Write a host's evidence for its owner alone, and return the path. Raises WishError."""
    path = os.path.join(folder, file_of(str(evidence.get("host", ""))))
    checked(path, evidence)
    try:
        os.makedirs(folder, FOLDER_MODE, exist_ok=True)
        durable.write(path, json.dumps(evidence, ensure_ascii=True, allow_nan=False).encode(), MODE)
    except OSError as error:
        raise WishError(path, f"cannot be written ({error.strerror})", "give another folder") from error
    return path


def file_of(host: str) -> str:
    """Return the name of a host's file; a host may be called like a path."""
    return f"{host if _PLAIN.fullmatch(host) else quote(host, safe='').replace('.', '%2E') or '%'}.json"


def read(folder: str) -> dict[str, dict[str, Any]]:
    """Return the evidence in a folder by host. Raises WishError for a folder without any, and for a damaged file."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError as error:
        remedy = "give the folder of an earlier diagnosis"
        raise WishError(folder, f"cannot be read ({error.strerror})", remedy) from error
    if len(names) > MOST_FILES:
        raise WishError(folder, f"holds more than {MOST_FILES} files", "give the folder of one diagnosis")
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        evidence = _file(os.path.join(folder, name))
        # A report of a diagnosis may lie beside its evidence.
        if evidence is not None:
            _add(found, evidence, os.path.join(folder, name))
    if not found:
        raise WishError(folder, "holds no evidence", "give the folder of an earlier diagnosis")
    return found


def _add(found: dict[str, dict[str, Any]], evidence: dict[str, Any], path: str) -> None:
    if evidence["host"] in found:
        raise WishError(path, f"is a second file of the host {told(evidence['host'], 100)}", "move one of them away")
    found[evidence["host"]] = evidence


def _file(path: str) -> dict[str, Any] | None:
    remedy = "move it away, or collect the evidence again"
    try:
        value = plain_files.json_of(path, MOST_BYTES)
    except OSError as error:
        raise WishError(path, f"cannot be read ({error.strerror})", remedy) from error
    except ValueError as error:
        raise WishError(path, f"is not the JSON of evidence ({told(str(error), 200)})", remedy) from error
    if isinstance(value, dict) and "samples" not in value and "findings" in value:
        return None
    return checked(path, value)


def checked(path: str, value: Any) -> dict[str, Any]:
    """Return evidence that has the shape of some. Raises WishError."""
    remedy = "collect the evidence again"
    schema = value.get("schema") if isinstance(value, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        problem = f"was written by a later release of the collection (schema {schema})"
        raise WishError(path, problem, "use that release or a later one")
    if not plain_files.fits(value, _SHAPE):
        raise WishError(path, "does not have the shape of evidence", remedy)
    if not value["host"]:
        raise WishError(path, "names no host", remedy)
    return dict(value)
