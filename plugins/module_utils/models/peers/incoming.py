# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions on their way to a host from another one: ``root/MODEL/.incoming-VERSION/``, which no server looks at.

In it are ``manifest.json``, the files in ``tree``, and, as soon as each of them has the digest that the manifest says
and is on the disk, ``verified.json``. It stays from one wave to the next, so that a transfer goes on where it ended.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ...disk import durable
from ...disk.archives import survey
from ...disk.record import Record
from ...errors import RefusalError
from ..store import Store
from . import manifest as manifests
from .manifest import Manifest

# A hundred thousand names of usual length with their digests.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Incoming:
    """A version on its way into a store. Changes need the store's lock."""

    store: Store
    model: str
    version: int

    @property
    def place(self) -> str:
        return self.store.incoming(self.model, self.version)

    @property
    def tree(self) -> str:
        return os.path.join(self.place, "tree")

    def manifest(self) -> Manifest | None:
        """Return the manifest that it follows, if there is one."""
        try:
            found = self._record("manifest").found()
            return manifests.read(found) if found else None
        except RefusalError:
            return None

    def digest(self) -> str:
        """Return the checksum of the version that is here, verified; empty if there is none."""
        manifest = self.manifest()
        return manifest.sha256 if manifest and self.is_verified(manifest) else ""

    def is_verified(self, manifest: Manifest) -> bool:
        """Return whether all of it is here, of this content."""
        found = self._record("verified").found()
        return isinstance(found, dict) and found.get("tree") == manifest.tree and self.manifest() == manifest

    def begin(self, manifest: Manifest) -> None:
        """Make the place for a version, empty unless it follows the same manifest already."""
        if self.manifest() != manifest:
            self.drop()
        self.store.ensure(self.store.base(self.model))
        self.store.ensure(self.place)
        os.makedirs(self.tree, 0o700, exist_ok=True)
        self._record("manifest").save(manifest.plain())

    def finish(self, manifest: Manifest) -> None:
        """Bring a tree whose files have been compared with the manifest to the disk, and remember that."""
        self.store.seal(self.tree)
        durable.sync(self.place)
        self._record("verified").save({"tree": manifest.tree})

    def take(self, target: str, sha256: str) -> Manifest:
        """Move the verified files of the version with a checksum to ``target``; return their manifest.

        Raises RefusalError if they are not here, or not as they were verified.
        """
        manifest = self.manifest()
        if not manifest or self.digest() != sha256:
            raise RefusalError("what another host has sent of it is gone since the run began", "run again")
        sizes = {path: size for path, (_digest, size) in manifest.files.items()}
        if survey(self.tree).files != sizes:
            self.drop()
            raise RefusalError("what another host has sent of it has changed since it was verified", "run again")
        os.rename(self.tree, target)
        self.drop()
        return manifest

    def drop(self) -> None:
        """Remove all of it, if there is any."""
        if os.path.lexists(self.place):
            self.store.discard(self.place)

    def _record(self, name: str) -> Record:
        path = os.path.join(self.place, f"{name}.json")
        return Record(path, {str: _anything}, most=_MOST_BYTES, folder=self.store.attributes.directory_mode)


def _anything(_value: Any) -> bool:
    return True
