# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs the services of a host."""

from __future__ import annotations

from .sysfs import Tree

SYSTEMD = "systemd"
UNKNOWN = "something unknown"


def service_manager(tree: Tree) -> str:
    """Return ``systemd`` where it is the init of the host (sd_booted(3)), or the name of the process that is."""
    if tree.exists("run/systemd/system"):
        return SYSTEMD
    return tree.text("proc/1/comm") or UNKNOWN
