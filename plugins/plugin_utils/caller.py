# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of playbooks and pages for whoever runs them: files in a clone, else names within the collection."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible import context

COLLECTION = "tfserving.fleet"
# The pages of an installed collection.
PAGES = "https://github.com/tfserving/fleet/blob/main/docs"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Caller:
    """The user who runs playbooks. ``root`` is the clone that they work in, or None."""

    root: Path | None

    def playbook(self, name: str) -> str:
        """Return the name by which to run a playbook: ``site.yml`` in a clone, ``tfserving.fleet.site`` elsewhere."""
        if self.root is None:
            return f"{COLLECTION}.{name}"
        file = f"{name}.yml"
        return file if (self.root / file).exists() else f"playbooks/{file}"

    def command(self, name: str, *arguments: str) -> str:
        """Return the command that runs a playbook on the inventories of this run."""
        sources = [part for source in context.CLIARGS.get("inventory") or () for part in ("-i", _near(source))]
        return shlex.join(["ansible-playbook", *sources, self.playbook(name), *arguments])

    def page(self, name: str) -> str:
        """Return the location of a documentation page."""
        return f"docs/{name}.md" if self.root else f"{PAGES}/{name}.md"


def _near(source: str) -> str:
    """Return the shorter path of an inventory: from the working directory, for one below it."""
    inner = os.path.relpath(source) if os.path.isabs(source) else source
    return source if inner.startswith(os.pardir) else inner


def version(root: Path = ROOT) -> str:
    """Return the version of this collection: of an installed one or of a clone; empty where neither file is."""
    for name, pattern in (("MANIFEST.json", r'"version": "([^"]+)"'), ("galaxy.yml", r"(?m)^version: (\S+)")):
        with contextlib.suppress(OSError):
            found = re.search(pattern, (root / name).read_text(encoding="utf-8"))
            if found:
                return found[1]
    return ""


def caller(playbooks: Sequence[str], root: Path = ROOT) -> Caller:
    """Return the caller of ``playbooks``, named as for ansible-playbook; files below ``root`` mean a clone."""
    files = [Path(os.path.realpath(each)) for each in playbooks if os.path.exists(each)]
    return Caller(root if any(root in file.parents for file in files) else None)


def current() -> Caller:
    """Return the caller of this process; outside ansible-playbook, there is no clone."""
    return caller(context.CLIARGS.get("args") or ())
