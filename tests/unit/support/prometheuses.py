# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server of Prometheus as Debian 12 and 13, and Ubuntu 22.04 and 24.04 ship it."""

from __future__ import annotations

from pathlib import Path

import yaml
from debian_programs import Program

PACKAGES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
BOOKWORM, TRIXIE, JAMMY, NOBLE = PACKAGES
_PROGRAMS = {
    version: Program("Prometheus", version, packages, "usr/bin/prometheus", ("--version",))
    for version, packages in PACKAGES.items()
}


def program(version: str) -> str:
    """Return the path of a version's server; skips the test, with the reason, where its package cannot be had."""
    return _PROGRAMS[version].path()
