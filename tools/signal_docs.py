#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes what is generated from the table of signals: docs/signals.md, docs/alerts.md and Grafana's dashboards::

make docs                     # rewrites them
tools/signal_docs.py --check  # names what is out of date, by exit status 1; part of `make lint`
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import grafana, reference  # noqa: E402

DASHBOARDS = Path("roles/monitoring/files/grafana/dashboards")


def texts() -> dict[Path, str]:
    """Return the text of each file by its path in the repository."""
    return {
        Path("docs/signals.md"): reference.signals_page(),
        Path("docs/alerts.md"): reference.alerts_page(),
        **{
            DASHBOARDS / f"{uid}.json": json.dumps(model, indent=1, ensure_ascii=False) + "\n"
            for uid, model in grafana.dashboards().items()
        },
    }


def stale(root: Path) -> list[Path]:
    """Return the files that are not what the table makes of them, and dashboards that it knows nothing of."""
    wanted = texts()
    there = {path.relative_to(root) for path in (root / DASHBOARDS).glob("*.json")}
    changed = [path for path, text in wanted.items() if not _is(root / path, text)]
    return [*changed, *sorted(there - wanted.keys())]


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def write(root: Path) -> None:
    """Write all files, and remove dashboards of other names."""
    wanted = texts()
    for path in stale(root):
        if path not in wanted:
            (root / path).unlink()
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(wanted[path], encoding="utf-8")


def main() -> int:
    """Write or check the files; the exit status is 1 when a check finds one out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file would change")
    options = parser.parse_args()
    found = stale(ROOT)
    for path in found:
        print(f"{path}: {'out of date, run make docs' if options.check else 'written'}")
    if not options.check:
        write(ROOT)
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
