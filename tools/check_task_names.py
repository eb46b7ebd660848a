#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Check the names of plays, tasks, blocks and handlers: an imperative verb, a noun of the field, no clause.

A run shows names and little else, so each has to say by itself what is done: "Install nftables".
Exits with 1 and one line per name that breaks the rule.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("roles/*/tasks", "roles/*/handlers", "playbooks", "molecule")
NESTED = ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers")

KNOWN = """
    Add Apply Bind Boot Break Build Change Check Close Collect Compare Complete Configure Copy Create Cut Deploy
    Destroy Determine Disable Discard Download Drain Enable Fail Fetch Find Finish Fix Gather Generate Group Hold
    Install Kill Load Lock Look Mark Measure Move Open Partition Plan Prepare Print Publish Push Query Read Reboot
    Rebuild Record Refresh Refuse Release Reload Remember Remove Render Repair Repeat Replace Report Request Resolve
    Restart Restore Restrict Return Roll Run Select Set Share Show Simulate Skip Start Stop Store Synchronize Test
    Trust Tune Unload Update Validate Verify Wait Write
"""
VERBS = frozenset(KNOWN.split())
CLAUSES = re.compile(
    r"\b(what|who|whom|whose|which|that|where|whether|when|while|until|if|unless|since|because|how|why|it|them|they)\b",
    re.IGNORECASE,
)


def problem(name: str) -> str:
    """Return what is wrong with ``name``, empty where nothing is."""
    first = re.split(r"\W", name, maxsplit=1)[0]
    if first not in VERBS:
        return f'begin with a verb of tools/check_task_names.py, not "{first}"'
    clause = CLAUSES.search(name)
    return f'name the thing by its noun, without "{clause.group()}"' if clause else ""


def names(entries: Any) -> Iterator[str]:
    """Yield the names of plays or tasks, and of those inside them; a task without a name is ansible-lint's business."""
    for entry in entries if isinstance(entries, list) else []:
        if "name" in entry:
            yield str(entry["name"])
        for key in NESTED:
            yield from names(entry.get(key))


def main() -> int:
    """Check all playbooks and task files; return the exit status."""
    folders = [folder for pattern in FOLDERS for folder in ROOT.glob(pattern)]
    files = [ROOT / "site.yml", *sorted(path for folder in folders for path in folder.rglob("*.yml"))]
    found = [
        f"{path.relative_to(ROOT)}: {name}: {problem(name)}"
        for path in files
        for name in names(yaml.safe_load(path.read_text()))
        if problem(name)
    ]
    print("\n".join(found) if found else "All tasks are named by a verb and a noun.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
