# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered of GPU settings between runs, in one file: values from before, and the clocks that are locked."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..disk import folders, plain_files
from ..errors import WishError

MOST_BYTES = 1 << 20
_NUMBER = (int, float)
_SHAPE = {"boot_id?": str, "originals?": {str: {str: (int, float, str)}}, "locks?": {str: {str: [_NUMBER]}}}

# A lock that was begun and never finished: it is set again if it is wished, and released if not.
UNSURE = (0, 0)


class Memory:
    """Values from before by GPU (UUID) and setting, and the locked clocks, which no question to nvidia-smi tells."""

    def __init__(self, path: str, boot_id: str, restored: bool) -> None:
        """Read the file. ``restored``: whether this boot has locked the clocks again. Raises WishError."""
        self.path = Path(path)
        self.boot_id = boot_id
        stored = self._stored()
        self.originals: dict[str, dict[str, Any]] = stored.get("originals", {})
        kept = stored.get("boot_id") == boot_id or restored
        self.locks: dict[str, dict[str, list[int]]] = stored.get("locks", {}) if kept else {}

    def _stored(self) -> dict[str, Any]:
        try:
            stored: dict[str, Any] = plain_files.json_of(self.path, MOST_BYTES)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise self._damaged() from None
        # GPUs of a record with booleans or single clocks would be set to values that were never wished.
        if not plain_files.fits(stored, {}) or not plain_files.fits(stored, _SHAPE) or not _are_pairs(stored):
            raise self._damaged()
        return stored

    def _damaged(self) -> WishError:
        return WishError(str(self.path), "is damaged", "delete it, which forgets what the settings were before")

    def lock(self, gpu: str, key: str, clocks: Sequence[int] | None) -> None:
        """Remember how a clock is locked, None for not at all."""
        if clocks is None:
            self.locks.get(gpu, {}).pop(key, None)
        else:
            self.locks.setdefault(gpu, {})[key] = list(clocks)
        self.write()

    def keep(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Forget the values from before of settings (by GPU) that are no longer wished.

        A GPU that nvidia-smi leaves out at this time keeps them.
        """
        kept = {
            gpu: {key: value for key, value in values.items() if key in wanted.get(gpu, values)}
            for gpu, values in self.originals.items()
        }
        self.originals = {gpu: values for gpu, values in kept.items() if values}
        self.write()

    def write(self) -> None:
        """Write it all down in one piece; without anything to remember, no file is left."""
        self.locks = {gpu: locks for gpu, locks in self.locks.items() if locks}
        if not self.originals and not self.locks:
            self.path.unlink(missing_ok=True)
            return
        folders.make(self.path.parent, 0o700)
        staged = self.path.with_suffix(".new")
        content = json.dumps({"boot_id": self.boot_id, "originals": self.originals, "locks": self.locks})
        with staged.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, self.path)


def _are_pairs(stored: dict[str, Any]) -> bool:
    locks = stored.get("locks", {})
    return all(len(clocks) == 2 for keys in locks.values() for clocks in keys.values())
