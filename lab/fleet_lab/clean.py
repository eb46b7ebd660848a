# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Remove everything that the lab made, and nothing else."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

from fleet_lab.config import LABEL, SUITES, Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly
from fleet_lab.vm.machine import Machine

# In the order in which they let go of each other.
KINDS = (
    ("container", ["docker", "ps", "--all", "--quiet"], ["docker", "rm", "--force", "--volumes"]),
    ("network", ["docker", "network", "ls", "--quiet"], ["docker", "network", "rm"]),
    ("snapshot", ["docker", "image", "ls", "--quiet", f"--filter=label={LABEL}=snapshot"], ["docker", "image", "rm"]),
    ("image", ["docker", "image", "ls", "--quiet"], ["docker", "image", "rm", "--force"]),
)


def down(lab: Lab) -> str:
    """Remove containers and network; keep image, packages and models for next time."""
    return _remove(lab, KINDS[:2])


def clean_lab(lab: Lab) -> str:
    """Remove containers, network, images and everything generated; leave .venv and the TensorFlow runtime."""
    Machine(lab).down()
    removed = _remove(lab, KINDS)
    shutil.rmtree(lab.state, ignore_errors=True)
    shutil.rmtree(lab.logs, ignore_errors=True)
    return removed


def distclean(lab: Lab) -> str:
    """Remove .venv and the TensorFlow runtime as well; keep other files in the user's cache folder."""
    removed = clean_lab(lab)
    runtimes = [replace(lab, suite=suite).host_runtime for suite in SUITES]
    for folder in (lab.venv, lab.runtime, *runtimes, lab.floor, lab.tools, lab.judged, lab.bytecode):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or not empty
        lab.cache.rmdir()
    return f"{removed}; .venv and the TensorFlow runtime removed"


def _remove(lab: Lab, kinds: tuple[tuple[str, list[str], list[str]], ...]) -> str:
    if answer(["docker", "version"]) is None:
        if shutil.which("docker"):
            raise Stop(
                "the Docker engine does not answer, so nothing in it can be removed; start it (make engine) and repeat"
            )
        return "no engine, so no containers"
    counts = []
    for kind, listing, removal in kinds:
        found = sorted(set((answer([*listing, f"--filter=label={LABEL}"]) or "").split()))
        if found:
            quietly([*removal, *found], lab.logs / "clean.log")
        counts.append(f"{len(found)} {kind}{'' if len(found) == 1 else 's'}")
    return ", ".join(counts) + " removed"
