# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The service manager of a host."""

from __future__ import annotations

from .sysfs import Tree

SYSTEMD = "systemd"
UNKNOWN = "something unknown"


def service_manager(tree: Tree) -> str:
    """Return ``systemd`` if it is the host's init (sd_booted(3)), otherwise the name of the init process."""
    if tree.exists("run/systemd/system"):
        return SYSTEMD
    return tree.text("proc/1/comm") or UNKNOWN
