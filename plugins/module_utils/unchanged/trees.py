# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files that template_tree has laid down on a host: whether all of them are as they were written."""

from __future__ import annotations

import os
from typing import Any

from ..tree.change import digest, remembered
from ..tree.files import Host
from ..tree.state import POINT, Record, Store
from ..tree.tree import Tree
from .finding import Finding


def look(folder: str) -> Finding:
    """Return the state of all trees whose records are in ``folder``. Raises WishError for a damaged record."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    due, state = [], {}
    for name in names:
        store = Store(os.path.join(folder, name))
        record = store.last()
        if Tree(folder, name, record["dest"] if record else "/").interrupted() is not None:
            due.append(f"the interrupted change of the tree {name}")
        if store.load(POINT) is not None:
            due.append(f"the unproven change of the tree {name}")
        if record:
            host = Host(record["dest"])
            due += _rewritten(host, record)
            state[name] = _state(host, record)
    return Finding("; ".join(due), state)


def _rewritten(host: Host, record: Record) -> list[str]:
    found = []
    for path, known in sorted(record["files"].items()):
        seen = host.see(path)
        if seen.kind != "file" or digest(seen.content) != known["sha256"]:
            found.append(host.path(path))
    return found


def _state(host: Host, record: Record) -> dict[str, Any]:
    """Return kind, mode and owner of all files and directories, and whose they are; contents by their digest."""
    files = {path: {**known, **remembered(host.see(path))} for path, known in record["files"].items()}
    directories = {path: remembered(host.see_directory(path)) for path in record["directories"]}
    return {"dest": record["dest"], "files": files, "directories": directories}
