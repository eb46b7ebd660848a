#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares the variables in every role's README with its argument specs, by generating them anew in a copy.

Exits with 1 and the names of the roles whose README is out of date.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def is_current(role: Path, workplace: Path) -> bool:
    """Whether generating the role's README changes nothing."""
    shutil.copytree(role, workplace / "roles" / role.name)
    command = ["aar-doc", "--output-mode", "inject", str(workplace / "roles" / role.name), "markdown"]
    subprocess.run(command, cwd=workplace, check=True, capture_output=True)
    return (workplace / "roles" / role.name / "README.md").read_bytes() == (role / "README.md").read_bytes()


def main() -> int:
    """Check all roles; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "galaxy.yml", folder)  # the collection's name and version stand in each README
        stale = [role.name for role in sorted((ROOT / "roles").iterdir()) if not is_current(role, Path(folder))]
    print(f"Out of date, run make docs: {', '.join(stale)}" if stale else "The READMEs of all roles are current.")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
