# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The state directory of a tree: the records of its changes, and the files saved for a revert.

Records hold checksums and paths, saved files hold whatever the tree holds: the directory is 0700, everything in it
0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Any

from ..disk import folders, plain_files
from ..disk import record as records
from ..disk.durable import sync_opened
from ..errors import WishError
from .files import Seen, discard, naming, write_new

SCHEMA = 1

PREPARE, JOURNAL, COMMITTED, MANIFEST = "prepare.json", "journal.json", "committed.json", "manifest.json"
# Not a phase of a change: the state that all changes since the last proven state can be taken back to.
POINT = "point.json"

Record = dict[str, Any]

_PREVIOUS = "previous-"
_POINT = "point"

_AWAY = "move it away; the tree's files stay as they are"
# A tree has dozens of files, and a record takes a few hundred bytes for each.
_MOST_RECORD_BYTES = 64 << 20


def _is_seen(value: Any) -> bool:
    """Return whether a value has the form that ``remembered`` (tree/change.py) returns for a path."""
    if value == {"kind": "absent"}:
        return True
    octal = plain_files.fits(value, {"mode": str}) and set(value["mode"]) <= set("01234567") and value["mode"] != ""
    rest = {"kind": str, "uid": int, "gid": int, "target?": plain_files.is_latin, "kept?": plain_files.is_path}
    return octal and plain_files.fits(value, rest)


# The keys that code reads from a record without checking. Records of 0.1.0 have no secrets.
_NAMES = {str: plain_files.is_path}
_FILES = {str: {"sha256": str, "entries": _NAMES}}
_PATHS = [plain_files.is_path]
_STEP = {"path": plain_files.is_path, "before": _is_seen, "entries": _NAMES}
_REPORT = {"changed_files": _PATHS, "created": _PATHS, "removed": _PATHS, "changed_by": {str: {str: _PATHS}}}


def _shape(step: Any) -> Any:
    return {
        "schema": lambda value: value == SCHEMA,
        "dest": plain_files.is_path,
        "files": _FILES,
        "directories": _PATHS,
        "steps": {kind: [step] for kind in ("changes", "make", "adjust", "drop")},
    }


_POINT_SHAPE = _shape(_STEP)
_SHAPE = {
    **_shape({**_STEP, "after": _is_seen}),
    "name": plain_files.is_path,
    "transaction": plain_files.is_path,
    "previous": {"files": _FILES, "directories": _PATHS},
    "revertable": bool,
    "report": _REPORT,
}


class BusyError(WishError):
    """Another run works on the tree at this moment."""


class Store:
    """One state directory. Raises WishError for what it cannot read, OSError for what it cannot write."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory if needed and lock out other runs; a run that dies releases the lock."""
        with naming(self.path):
            folders.make(self.path, 0o700)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(self.path, "another run is working on this tree", "wait for it to end") from None
            yield
        finally:
            os.close(descriptor)

    def load(self, phase: str) -> Record | None:
        """Return the record in this phase, or None."""
        found: Record | None = self._record(phase).load()
        return found

    def _record(self, phase: str) -> records.Record:
        shape = _POINT_SHAPE if phase == POINT else _SHAPE
        path = os.path.join(self.path, phase)
        return records.Record(path, shape, _AWAY, schema=SCHEMA, most=_MOST_RECORD_BYTES, mode=0o600, folder=0o700)

    def last(self) -> Record | None:
        """Return the record of the last completed change, or None."""
        return self.load(COMMITTED) or self.load(MANIFEST)

    def save(self, phase: str, record: Record) -> None:
        """Write a record, whole or not at all."""
        self._record(phase).save(record)

    def advance(self, phase: str, following: str) -> None:
        """Move a record to its next phase."""
        with self._open() as directory:
            os.rename(phase, following, src_dir_fd=directory, dst_dir_fd=directory)
            sync_opened(directory)

    def remove(self, phase: str) -> None:
        """Delete a record."""
        with self._open() as directory:
            os.unlink(phase, dir_fd=directory)
            sync_opened(directory)

    def put_by(self, transaction: str, files: dict[str, bytes]) -> None:
        """Save files for as long as a transaction is the last one."""
        with self._open() as directory:
            os.mkdir(_PREVIOUS + transaction, 0o700, dir_fd=directory)
            aside = os.open(_PREVIOUS + transaction, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            try:
                for name, content in files.items():
                    write_new(aside, name, _private(content))
                sync_opened(aside)
            finally:
                os.close(aside)

    def fetch(self, transaction: str, name: str) -> bytes:
        """Return a file that a transaction saved."""
        path = os.path.join(self.path, _PREVIOUS + transaction, name)
        with naming(path), open(path, "rb") as file:
            return file.read()

    def put_by_point(self, files: dict[str, bytes]) -> None:
        """Save further files for the point, replacing those of an interrupted call that had not reached its record."""
        with self._open() as directory:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_POINT, 0o700, dir_fd=directory)
            aside = os.open(_POINT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            try:
                for name, content in files.items():
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=aside)
                    write_new(aside, name, _private(content))
                sync_opened(aside)
            finally:
                os.close(aside)

    def fetch_point(self, name: str) -> bytes:
        """Return a file that was saved for the point."""
        path = os.path.join(self.path, _POINT, name)
        with naming(path), open(path, "rb") as file:
            return file.read()

    def discard_point(self) -> None:
        """Remove the files saved for the point."""
        with self._open() as directory:
            discard(directory, _POINT)

    def sweep(self, transaction: str | None) -> None:
        """Remove the saved files of all transactions but this one, and records that were only partly written."""
        with self._open() as directory:
            for name in os.listdir(directory):
                if name.startswith(_PREVIOUS) and name != f"{_PREVIOUS}{transaction}":
                    discard(directory, name)
                elif name.startswith("."):
                    os.unlink(name, dir_fd=directory)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _private(content: bytes) -> Seen:
    return Seen("file", content, 0o600)
