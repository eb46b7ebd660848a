# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The releases on a host's disk, and the only ways to change them.

``root/ID/`` holds ``rootfs/`` and ``release.json``, which is written last: a directory with both is complete and never
changes again. Unfinished and withdrawn releases have names that begin with a dot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..disk import durable, store
from ..disk.record import Record, text
from ..disk.space import MIB, in_mib
from ..errors import WishError
from .tree import inside, runnable

RECORD = "release.json"
TREE = "rootfs"


@dataclass(frozen=True)
class Store(store.Store):
    """The directory that holds one directory per release."""

    def path(self, release: str) -> str:
        return os.path.join(self.root, release)

    def record(self, release: str) -> dict[str, Any]:
        """Return the record of a published release; empty if there is none or it is unreadable."""
        found = Record(os.path.join(self.path(release), RECORD), {"id": lambda value: value == release}).found()
        return found or {}

    def releases(self) -> list[str]:
        """Return the names of all complete releases, the newest (last published) first."""
        names = [name for name in store.names(self.root) if "@" in name and self.record(name)]
        return sorted(names, key=lambda name: (self._published(name), name), reverse=True)

    def present(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the release that a plan selects, or None if it is missing.

        Raises WishError if it exists but is not as planned: a release that may be running is never repaired.
        """
        path = self.path(plan["id"])
        if not os.path.lexists(path):
            return None
        remedy = "remove it once nothing runs from it, then run again"
        record = self.record(plan["id"])
        if not record:
            raise WishError(path, f"has no readable {RECORD}", remedy)
        if plan["digest"] and record.get("digest") != plan["digest"]:
            raise WishError(path, f"was made from {record.get('digest')}, not from {plan['digest']}", remedy)
        binary = inside(os.path.join(path, TREE), plan["binary"]) if plan["chroot"] else plan["binary"]
        if not runnable(binary):
            raise WishError(path, f"holds no executable {plan['binary']}", remedy)
        return {**record, "binary": plan["binary"], "path": path}

    def leftovers(self) -> list[str]:
        """Return the paths that dead runs have left behind. The lock must be held, or they may be in use."""
        return self.unfinished(self.root)

    def busy(self) -> WishError:
        """Return the refusal for a store that another run has locked."""
        problem = "another run is working on the releases of this host"
        return WishError(self.root, problem, "wait for its end, then run again")

    # --- space ---

    def require(self, needed: int, where: str) -> None:
        """Raise WishError if fewer than ``needed`` bytes are free."""
        if needed > self.free():
            raise self.too_full(needed, where)

    def too_full(self, needed: int | None, where: str) -> WishError:
        """Return the refusal for lack of space; None for an unknown need."""
        wanted = "more" if needed is None else in_mib(needed)
        problem = f"the release needs {wanted} and {self.free() // MIB} MiB are free under {self.root}"
        return WishError(where, problem, "free space there, or keep fewer releases")

    # --- changes ---

    def staging(self, release: str) -> AbstractContextManager[str]:
        """Make the private directory that becomes a release; remove what is left of it afterwards."""
        return self.stage(self.path(release))

    def publish(self, staged: str, record: Mapping[str, Any]) -> None:
        """Move the staged directory to its release's path in one rename: nobody ever sees part of it."""
        durable.write(os.path.join(staged, RECORD), text(record).encode())
        os.chmod(os.path.join(staged, TREE), 0o755)
        os.chmod(staged, 0o755)
        durable.sync_all(staged)
        self.reveal(staged, self.path(record["id"]))

    def remove(self, release: str) -> None:
        """Rename a release out of sight, then delete it."""
        self.discard(self.withdraw(self.path(release)))

    def sweep(self) -> list[str]:
        """Delete what dead runs have left behind and return the names. The lock must be held."""
        found = self.leftovers()
        for path in found:
            self.discard(path)
        return [os.path.basename(path) for path in found]

    def _published(self, release: str) -> int:
        return os.stat(os.path.join(self.path(release), RECORD)).st_mtime_ns
