# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the roles' argument specs into their READMEs, and the table of signals into docs and dashboards."""

from __future__ import annotations

from fleet_lab import environment
from fleet_lab.config import Lab
from fleet_lab.shell import quietly


def docs(lab: Lab) -> str:
    """Refresh the generated part of every role's README, keep the text around it; write the pages made from tables."""
    for tool in ("role_docs.py", "fault_docs.py", "adoption_docs.py", "signal_docs.py"):
        quietly([lab.python, lab.root / "tools" / tool], lab.logs / "docs.log", environment.ansible(lab))
    return "roles/*/README.md, docs/faults.md, docs/adoption-findings.md, docs/signals.md, docs/alerts.md"
