# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a bundle: written last, and compared with every file before anything is installed.

``manifest.json`` is ``{schema: 1, artifacts: [{path, sha256, size, from}]}``, sorted by path. Refusals are WishError.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..disk import durable
from ..disk.digests import SHA256, file_digest
from ..errors import WishError
from .names import BUNDLE

SCHEMA = 1
NAME = "manifest.json"
FOLDERS = ("archives", "images", "keys", "models", "packages")
FRESH = "copy the bundle again, or make a new one"


def text(artifacts: Iterable[Mapping[str, Any]]) -> str:
    """Return the manifest's text. Raises WishError if two builders bring different files for one path."""
    listed: dict[str, dict[str, Any]] = {}
    for artifact in artifacts:
        entry = {key: artifact[key] for key in ("path", "sha256", "size", "from")}
        other = listed.setdefault(entry["path"], entry)
        if other["sha256"] != entry["sha256"]:
            raise WishError(
                "bundle_builder", f"two builders bring {entry['path']}", "name one builder for each release"
            )
    return json.dumps({"schema": SCHEMA, "artifacts": [listed[path] for path in sorted(listed)]}, indent=1) + "\n"


def verified(directory: str) -> dict[str, dict[str, Any]]:
    """Return the artifacts of a bundle by path, each one compared with its SHA-256."""
    artifacts = read(directory)
    # Sizes first: an interrupted copy is reported at once, however much there is to read.
    for path, entry in artifacts.items():
        _check_size(directory, path, entry["size"])
    for path, entry in artifacts.items():
        found = file_digest(os.path.join(directory, path))
        if found != entry["sha256"]:
            problem = f"{path} has the SHA-256 {found}, and the manifest says {entry['sha256']}"
            raise WishError(BUNDLE, problem, FRESH)
    return artifacts


def read(directory: str) -> dict[str, dict[str, Any]]:
    """Return the artifacts that the manifest names, by path."""
    if not os.path.isabs(directory):
        raise WishError(BUNDLE, f"{directory!r} is not an absolute path", "write it as /srv/bundle")
    try:
        with open(os.path.join(directory, NAME), encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        remedy = "make it with tfserving.fleet.bundle; the manifest comes last"
        raise WishError(BUNDLE, f"{directory} holds no {NAME}", remedy) from None
    except (OSError, ValueError) as error:
        raise WishError(BUNDLE, f"{NAME} cannot be read ({error})", FRESH) from error
    if not isinstance(content, Mapping) or content.get("schema") != SCHEMA:
        raise WishError(
            BUNDLE, f"{NAME} is not of schema {SCHEMA}", "make the bundle with this release of the collection"
        )
    entries = content.get("artifacts")
    if not isinstance(entries, list) or not all(_is_artifact(entry) for entry in entries):
        raise WishError(BUNDLE, f"{NAME} is damaged", FRESH)
    return {entry["path"]: entry for entry in entries}


def _is_artifact(entry: Any) -> bool:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("size"), int):
        return False
    return is_inside(entry.get("path")) and bool(SHA256.fullmatch(str(entry.get("sha256"))))


def is_inside(path: Any) -> bool:
    """Return whether a path is relative, in one of a bundle's folders, and does not leave it."""
    if not isinstance(path, str) or "\0" in path:
        return False
    first, *others = path.split("/")
    return first in FOLDERS and bool(others) and not {"", ".", ".."} & set(others)


def _check_size(directory: str, path: str, size: int) -> None:
    place = os.path.join(directory, path)
    if not os.path.isfile(place):
        raise WishError(BUNDLE, f"{path} is missing", FRESH)
    found = os.path.getsize(place)
    if found != size:
        raise WishError(BUNDLE, f"{path} has {found} bytes, and the manifest says {size}", FRESH)


def write(directory: str, artifacts: Iterable[Mapping[str, Any]]) -> bool:
    """Rename the manifest into place and remove all files that it does not name; return whether anything changed."""
    wanted = text(artifacts)
    place = os.path.join(directory, NAME)
    changed = _content(place) != wanted
    if changed:
        durable.write(place, wanted.encode())
    return prune(directory, read(directory)) or changed


def prune(directory: str, keep: Iterable[str]) -> bool:
    """Remove the files of a bundle's folders that are not in ``keep``, and the folders left empty."""
    kept, removed = set(keep), False
    for folder in FOLDERS:
        for place, _folders, names in os.walk(os.path.join(directory, folder), topdown=False):
            for name in names:
                path = os.path.join(place, name)
                if os.path.relpath(path, directory) not in kept:
                    os.unlink(path)
                    removed = True
            if not os.listdir(place):
                os.rmdir(place)
                removed = True
    return removed


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
