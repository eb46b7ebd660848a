# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of GPU settings between runs, in one file: original values, and locked clocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..disk import plain_files
from ..disk.record import Record


def _is_pair(value: Any) -> bool:
    return plain_files.fits(value, [(int, float)]) and len(value) == 2


# A record with booleans or single clocks would set GPUs to values that nobody wished.
_SHAPE = {"boot_id?": str, "originals?": {str: {str: (int, float, str)}}, "locks?": {str: {str: _is_pair}}}

# A lock that was begun and never finished: set again if wished, released if not.
UNSURE = (0, 0)


class Memory:
    """Original values by GPU (UUID) and setting, and the locked clocks, which no nvidia-smi query reports."""

    def __init__(self, path: str, boot_id: str, restored: bool) -> None:
        """Read the file. ``restored``: whether this boot has locked the clocks again. Raises WishError."""
        self._record = Record(path, _SHAPE, "delete it, which forgets what the settings were before", folder=0o700)
        self.boot_id = boot_id
        stored = self._record.load() or {}
        self.originals: dict[str, dict[str, Any]] = stored.get("originals", {})
        kept = stored.get("boot_id") == boot_id or restored
        self.locks: dict[str, dict[str, list[int]]] = stored.get("locks", {}) if kept else {}

    def lock(self, gpu: str, key: str, clocks: Sequence[int] | None) -> None:
        """Record how a clock is locked; None for not locked."""
        if clocks is None:
            self.locks.get(gpu, {}).pop(key, None)
        else:
            self.locks.setdefault(gpu, {})[key] = list(clocks)
        self.write()

    def keep(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Forget the original values of settings (by GPU) that are no longer wished.

        A GPU that nvidia-smi currently leaves out keeps them.
        """
        kept = {
            gpu: {key: value for key, value in values.items() if key in wanted.get(gpu, values)}
            for gpu, values in self.originals.items()
        }
        self.originals = {gpu: values for gpu, values in kept.items() if values}
        self.write()

    def write(self) -> None:
        """Write the whole record at once; an empty one leaves no file."""
        self.locks = {gpu: locks for gpu, locks in self.locks.items() if locks}
        remembered = {"boot_id": self.boot_id, "originals": self.originals, "locks": self.locks}
        self._record.save(remembered if self.originals or self.locks else {})
