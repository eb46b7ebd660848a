# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the collector remembers from one run to the next: a small file, valid for one boot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from . import written

SCHEMA = 1
# A few hundred bytes for each instance and each file.
MOST_BYTES = 1 << 20


class State:
    """Sections by name, one for each part that needs it. What is damaged or of another boot counts as forgotten."""

    def __init__(self, path: str, boot: str) -> None:
        self.path = path
        self.boot = boot
        self._before = _read(path, boot)
        self._now = dict(self._before)

    def section(self, name: str, shape: Any) -> dict[str, Any]:
        """Return what a part has kept, if it has the ``shape`` (plain_files.fits); else nothing."""
        found = self._before.get(name)
        return dict(found) if isinstance(found, dict) and plain_files.fits(found, shape) else {}

    def keep(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a section for the next run; a part that fails before keeps the one that it had."""
        self._now[name] = dict(value)

    def save(self) -> None:
        """Write the file if it changed. Raises OSError."""
        if self._now != self._before:
            content = json.dumps({"schema": SCHEMA, "boot": self.boot, "parts": self._now}, separators=(",", ":"))
            written.replace(self.path, content.encode(), 0o600)


def _read(path: str, boot: str) -> dict[str, Any]:
    try:
        found = plain_files.json_of(path, MOST_BYTES)
    except (OSError, ValueError):
        return {}
    is_ours = plain_files.fits(found, {"schema": int, "boot": str, "parts": {str: dict}})
    return found["parts"] if is_ours and (found["schema"], found["boot"]) == (SCHEMA, boot) else {}
