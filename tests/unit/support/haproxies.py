# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy as Debian and Ubuntu ship it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml
from debian_programs import Program

PACKAGES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
BOOKWORM, TRIXIE, JAMMY, NOBLE = PACKAGES
_PROGRAMS = {
    version: Program("HAProxy", version, packages, "usr/sbin/haproxy", ("-v",))
    for version, packages in PACKAGES.items()
}


def program(version: str) -> str:
    """Return the path of a version's program; skips the test, with the reason, where its packages cannot be had."""
    return _PROGRAMS[version].path()


def complaints(version: str, config: Path) -> str:
    """Return what a version says of a configuration, warnings included; nothing where it is content."""
    done = subprocess.run(
        [program(version), "-c", "-dW", "-f", str(config)], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode or "[WARNING]" in done.stderr else ""
