# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Modules of the kernel that its settings need."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..host.run import Run


def load(run: Run, check_mode: bool, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Load kernel modules; return those that were not loaded before, and a sentence for each that cannot be."""
    loaded, troubles = [], []
    for name in names:
        if os.path.exists(f"/sys/module/{name.replace('-', '_')}"):
            continue
        # A dry run names what it would insert, and nothing for a module that is built into the kernel.
        status, out, errors = run(["modprobe", "--dry-run", "--verbose", name])
        if status == 0 and out.strip() and not check_mode:
            status, _out, errors = run(["modprobe", name])
        if status != 0:
            troubles.append(f"kernel module {name}: cannot be loaded ({errors.strip()})")
        elif out.strip():
            loaded.append(name)
    return loaded, troubles
