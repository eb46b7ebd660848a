# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Varnish as Debian ships it, with the modules that the gateway's cache uses."""

from __future__ import annotations

import subprocess
from pathlib import Path

from debian_programs import LIBRARIES, Versions

_VERSIONS = Versions(__file__, "Varnish", "usr/sbin/varnishd", "-V")
BOOKWORM, TRIXIE = _VERSIONS.packages


def command(version: str, *arguments: str) -> list[str]:
    """Return a command of a version, for this account; skips the test where its packages are away."""
    program = _VERSIONS.program(version)
    modules = Path(program).parent / LIBRARIES / "varnish/vmods"
    return [program, "-j", "none", "-p", f"vmod_path={modules}", *arguments]


def beside(version: str, name: str) -> str:
    """Return another program of the same package, for calls by its loader."""
    root = Path(_VERSIONS.program(version)).parent
    script = root / name
    if not script.exists():
        text = (
            Path(_VERSIONS.program(version)).read_text(encoding="utf-8").replace("usr/sbin/varnishd", f"usr/bin/{name}")
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    return str(script)


def complaints(version: str, config: Path, work: Path) -> str:
    """Return what a version says of a configuration that it cannot translate; nothing where it is content."""
    said = subprocess.run(
        command(version, "-n", str(work), "-C", "-f", str(config)), capture_output=True, text=True, check=False
    )
    return said.stderr if said.returncode else ""
