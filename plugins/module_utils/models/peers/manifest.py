# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a version as the controller knows them. It alone says what a version is, never a holder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...disk import plain_files
from ...disk.archives import MAX_MEMBERS, safe_path, tree_digest
from ...disk.digests import SHA256
from ...errors import RefusalError

# Larger files exist nowhere: ext4 allows 16 TiB.
_MOST_SIZE = 1 << 44


@dataclass(frozen=True)
class Manifest:
    """A version: ``sha256`` is that of its archive, or of a directory's listing; ``files`` has digest and size."""

    sha256: str
    files: Mapping[str, tuple[str, int]]

    @property
    def tree(self) -> str:
        """Return the digest of the listing of its files."""
        return tree_digest({path: digest for path, (digest, _size) in self.files.items()})

    @property
    def size(self) -> int:
        """Return the bytes of its files together."""
        return sum(size for _digest, size in self.files.values())

    def plain(self) -> dict[str, Any]:
        """Return it as arguments and records have it."""
        return {"sha256": self.sha256, "files": {path: list(entry) for path, entry in self.files.items()}}

    def is_of(self, marker: Mapping[str, Any]) -> bool:
        """Return whether a version was published from the same content, as its marker says."""
        return self.tree == marker.get("tree")


def read(value: Any) -> Manifest:
    """Return the manifest that a value is. Raises RefusalError for anything else, such as a name that leads out."""
    shape = {"sha256": _is_digest, "files": {str: _is_entry}}
    if not plain_files.fits(value, shape) or not 0 < len(value["files"]) <= MAX_MEMBERS:
        raise RefusalError("the manifest is damaged", "give it as the controller has made it", "manifest")
    for path in value["files"]:
        if not path or safe_path(path) != path:
            raise RefusalError("the manifest has a name that is not plain", "pack the version again", "manifest")
    return Manifest(value["sha256"], {path: (digest, size) for path, (digest, size) in value["files"].items()})


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and bool(SHA256.fullmatch(value))


def _is_entry(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not _is_digest(value[0]):
        return False
    return isinstance(value[1], int) and not isinstance(value[1], bool) and 0 <= value[1] <= _MOST_SIZE
