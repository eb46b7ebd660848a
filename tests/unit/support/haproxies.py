# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy as Debian and Ubuntu ship it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from debian_programs import Versions

_VERSIONS = Versions(__file__, "HAProxy", "usr/sbin/haproxy", "-v")
PACKAGES = _VERSIONS.packages
BOOKWORM, TRIXIE, JAMMY, NOBLE = PACKAGES
program = _VERSIONS.program


def complaints(version: str, config: Path) -> str:
    """Return what a version says of a configuration, warnings included; nothing where it is content."""
    done = subprocess.run(
        [program(version), "-c", "-dW", "-f", str(config)], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode or "[WARNING]" in done.stderr else ""
