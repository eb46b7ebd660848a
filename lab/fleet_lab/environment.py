# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Environment variables of playbooks, tests and Molecule scenarios."""

from __future__ import annotations

import os
import shlex

from fleet_lab import hosts
from fleet_lab.build import image
from fleet_lab.config import NETWORK, Lab


def ansible(lab: Lab) -> dict[str, str]:
    """Return the variables for everything that runs Ansible from the checkout."""
    return {
        "ANSIBLE_CONFIG": str(lab.root / "ansible.cfg"),
        "FLEET_CACHE": str(lab.cache),
        "PATH": f"{lab.venv / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        # Bytecode is kept, also where the caller's environment says otherwise, and not in the checkout: collecting the
        # tests takes half the time.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(lab.bytecode),
        "VIRTUAL_ENV": str(lab.venv),
    }


def lab_platform(lab: Lab) -> dict[str, str]:
    """Return the variables that make a Molecule platform a lab host (see lab/README.md)."""
    cgroup = hosts.cgroup_options(hosts.cgroup_version())
    return {
        "LAB_IMAGE": image.current_tag(lab),
        "LAB_OTHER_IMAGE": image.current_tag(lab.other_release()),
        "LAB_NETWORK": NETWORK,
        "LAB_RUNTIME": str(lab.host_runtime),
        "LAB_SUITE": lab.suite,
        "LAB_CACHE": str(lab.state),
        "LAB_CGROUPNS": str(cgroup["cgroupns"]),
        # Always a mount, because a list of volumes cannot have an optional entry; on cgroup v2 it is of no use.
        "LAB_CGROUP_VOLUME": (*cgroup["volumes"], f"{lab.web}:/srv:ro")[0],
    }


def exports(variables: dict[str, str]) -> str:
    """Return lines for a shell's eval."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
