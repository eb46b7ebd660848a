# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How whoever runs this names its playbooks and pages: by their files in a clone, else by the collection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible import context

COLLECTION = "tfserving.fleet"
# Where the pages of an installed collection are read.
PAGES = "https://github.com/tfserving/fleet/blob/main/docs"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Caller:
    """Names things as the caller does. ``root`` is a clone that the caller works in, None for none."""

    root: Path | None

    def playbook(self, name: str) -> str:
        """Return how to run a playbook: ``site.yml`` in a clone, ``tfserving.fleet.site`` elsewhere."""
        if self.root is None:
            return f"{COLLECTION}.{name}"
        file = f"{name}.yml"
        return file if (self.root / file).exists() else f"playbooks/{file}"

    def page(self, name: str) -> str:
        """Return where a page of the documentation is."""
        return f"docs/{name}.md" if self.root else f"{PAGES}/{name}.md"


def caller(playbooks: Sequence[str], root: Path = ROOT) -> Caller:
    """Return who runs ``playbooks``, as they were named to ansible-playbook: files below ``root`` make it a clone."""
    files = [Path(os.path.realpath(each)) for each in playbooks if os.path.exists(each)]
    return Caller(root if any(root in file.parents for file in files) else None)


def current() -> Caller:
    """Return who runs this process: ansible-playbook, or something else, which works in no clone."""
    return caller(context.CLIARGS.get("args") or ())
