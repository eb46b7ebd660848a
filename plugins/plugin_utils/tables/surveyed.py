# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which releases of the server were surveyed. The table of flags names them; nothing else does."""

from __future__ import annotations

from .read import table

Release = tuple[int, int, int]


def releases() -> list[str]:
    """Return the surveyed releases, the oldest first."""
    return list(table("server_flags")["surveyed"])


def oldest() -> str:
    """Return the oldest surveyed release."""
    return releases()[0]


def newest() -> str:
    """Return the newest surveyed release."""
    return releases()[-1]


def numbers(version: str) -> Release:
    """Return ``"2.19.1"`` as ``(2, 19, 1)``."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)
