# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Amtool as Debian 12 and 13 ship it."""

from __future__ import annotations

from pathlib import Path

import yaml
from debian_programs import Program

PACKAGES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
BOOKWORM, TRIXIE = PACKAGES
_PROGRAMS = {
    version: Program("amtool", version, packages, "usr/bin/amtool", ("--version",))
    for version, packages in PACKAGES.items()
}


def program(version: str) -> str:
    """Return the path of a version's program; skips the test, with the reason, where its packages cannot be had."""
    return _PROGRAMS[version].path()
