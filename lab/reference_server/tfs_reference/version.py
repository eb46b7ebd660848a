# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The version that the server claims to be, and the runtime it really runs on."""

from __future__ import annotations

import sys
from pathlib import Path

VERSION_FILE = Path(__file__).parent.parent / "VERSION"
DEFAULT = "2.19.1"


def server_version() -> str:
    """The content of the file VERSION beside the package directory."""
    try:
        return VERSION_FILE.read_text().strip() or DEFAULT
    except OSError:
        return DEFAULT


def library_version() -> str:
    """The version of the TensorFlow wheel on the path, read without importing it (which costs seconds)."""
    for directory in sys.path:
        for found in Path(directory or ".").glob("tensorflow_cpu-*.dist-info"):
            return found.name.removeprefix("tensorflow_cpu-").removesuffix(".dist-info")
    return "unknown"


def as_tuple(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparisons: 2.19.1-rc0 -> (2, 19, 1)."""
    return tuple(int(part) for part in version.split("-")[0].split(".") if part.isdigit())
