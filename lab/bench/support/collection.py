# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the collection and of its tests' support, for benches that stand outside of both."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests/unit/support"
PAGES = SUPPORT / "recorded_pages"


def part(name: str) -> ModuleType:
    """Return a module of the collection by its name below ``plugins``."""
    return _from(ROOT / "collections", f"ansible_collections.tfserving.fleet.plugins.{name}")


def support(name: str) -> ModuleType:
    """Return a module of the unit tests' support."""
    return _from(SUPPORT, name)


def _from(folder: Path, name: str) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)
