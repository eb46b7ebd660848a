# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Write what the roles' argument specs say into their READMEs."""

from __future__ import annotations

from pathlib import Path

from fleet_lab import environment
from fleet_lab.config import Lab
from fleet_lab.shell import quietly


def docs(lab: Lab) -> str:
    """Refresh the generated part of every role's README; what is written around it by hand stays."""
    roles = sorted(path.parent.parent for path in lab.root.glob("roles/*/meta/argument_specs.yml"))
    for role in roles:
        command: list[str | Path] = [lab.venv / "bin" / "aar-doc", "--output-mode", "inject", role, "markdown"]
        quietly(command, lab.logs / "docs.log", environment.ansible(lab))
    return f"{len(roles)} READMEs"
