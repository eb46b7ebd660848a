# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What every worker process would load anew, loaded once in the process that they are forked from.

Ansible finds most plugins in the workers, one process for each task on each host. It compiles those of collections each
time, as it keeps no bytecode of them, and reads the documentation of all for their options.
"""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path
from typing import Any

from ansible.plugins import loader

from .caller import COLLECTION
from .tables import read
from .wishes.inventory import role_specs

FILTERS = Path(__file__).resolve().parents[1] / "filter"
# Of ansible-core: what a task on a host needs, whatever it does, and what the roles' variables and inventories call.
CORE: dict[Any, tuple[str, ...]] = {
    loader.action_loader: ("normal", "command", "debug", "group_by", "include_tasks", "set_fact"),
    loader.become_loader: ("sudo",),
    loader.connection_loader: ("ssh", "local"),
    loader.lookup_loader: ("env", "file", "fileglob", "inventory_hostnames", "items", "pipe", "template"),
    loader.shell_loader: ("sh",),
}


@cache
def preload() -> None:
    """Load them into this process, and into those that it forks from now on."""
    for path in sorted(FILTERS.glob("*.py")):
        loader.filter_loader.get(f"{COLLECTION}.{path.stem}")
    for plugins, names in CORE.items():
        for name in names:
            plugins.get(f"ansible.builtin.{name}", class_only=True)
    loader.lookup_loader.get(f"{COLLECTION}.rendered", class_only=True)
    for path in read.TABLES.glob("*.yml"):
        read.table(path.stem)
    role_specs()
    # What the garbage collector of a worker touches, the kernel copies. It leaves alone what is here by now.
    gc.freeze()
