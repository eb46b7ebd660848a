# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names from the kernel and systemd that the plan and the hosts share."""

from __future__ import annotations

import re

# Kernel-enforced sets of a cgroup, sched_setaffinity as far as a process respects it, or nothing.
CPUSET, AFFINITY, NONE = "cpuset", "affinity", "none"
# Without a dash: a dash in a slice's name nests it below another one (systemd.slice(5)).
SERVING_UNIT = "tfserving.slice"


def proc_path(name: str) -> str:
    """Return the path of a setting below /proc/sys; as in sysctl, the first separator found is the one that counts."""
    first = re.search(r"[./]", name)
    return name if first and first[0] == "/" else name.translate(str.maketrans("./", "/."))
