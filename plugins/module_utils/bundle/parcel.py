# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a bundle in transfer between two machines: the missing ones as one tar, compared again on arrival."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Mapping
from typing import IO, Any

from ..disk import folders
from ..disk.digests import file_digest
from ..disk.record import Record
from ..errors import WishError
from .names import BUNDLE

CHUNK = 1024 * 1024
# Records which files were compared: {path: [sha256, size, mtime_ns]}.
NOTE = ".compared.json"


def lacking(directory: str, files: Iterable[Mapping[str, Any]], remember: bool = False) -> list[str]:
    """Return the paths of the files that are missing in ``directory`` or have other content there.

    ``remember`` keeps a record there, so that gigabytes are not read on every run.
    """
    record = Record(os.path.join(directory, NOTE), {str: [(str, int)]})
    note = (record.found() if remember else None) or {}
    compared: dict[str, Any] = {}
    lacks = []
    for file in files:
        stamp = _stamp(directory, file)
        if stamp and (note.get(file["path"]) == stamp or _same(directory, file)):
            compared[file["path"]] = stamp
        else:
            lacks.append(file["path"])
    if remember and compared != note and os.path.isdir(directory):
        record.save(compared)
    return lacks


def _stamp(directory: str, file: Mapping[str, Any]) -> list[Any]:
    try:
        found = os.stat(os.path.join(directory, file["path"]))
    except OSError:
        return []
    return [file["sha256"], found.st_size, found.st_mtime_ns] if found.st_size == file["size"] else []


def _same(directory: str, file: Mapping[str, Any]) -> bool:
    return bool(file_digest(os.path.join(directory, file["path"])) == file["sha256"])


def pack(directory: str, paths: Iterable[str], parcel: str) -> None:
    """Write the named files of ``directory`` to the tar ``parcel``."""
    with tarfile.open(parcel, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            tar.add(os.path.join(directory, path), arcname=path, recursive=False)


def unpack(parcel: str, directory: str, files: Iterable[Mapping[str, Any]]) -> None:
    """Unpack a parcel's files to ``directory``, each compared with its SHA-256. Raises WishError."""
    wanted = {file["path"]: file for file in files}
    with tarfile.open(parcel, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is None or member.name not in wanted:
                raise WishError(BUNDLE, f"{member.name} was sent and not asked for", "run again")
            _place(content, os.path.join(directory, member.name), wanted.pop(member.name))
    if wanted:
        raise WishError(BUNDLE, f"{min(wanted)} did not arrive", "run again")


def _place(content: IO[bytes], target: str, file: Mapping[str, Any]) -> None:
    folders.make(os.path.dirname(target))
    staged = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:200]}.part")
    digest = hashlib.sha256()
    with open(staged, "wb") as stream:
        while chunk := content.read(CHUNK):
            stream.write(chunk)
            digest.update(chunk)
        os.fchmod(stream.fileno(), 0o644)
    if digest.hexdigest() != file["sha256"]:
        os.unlink(staged)
        raise WishError(BUNDLE, f"{file['path']} was damaged on the way, or changed meanwhile", "run again")
    os.replace(staged, target)
