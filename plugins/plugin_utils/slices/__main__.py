# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The program tfserving-fleet, in a clone and in an installed collection."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NAME = "ansible_collections.tfserving.fleet.plugins.plugin_utils.slices.main"


def main() -> None:
    """Find ansible-core, and this collection by its own name; then run."""
    # This folder's files are imported by their full names alone.
    sys.path = [each for each in sys.path if each != str(Path(__file__).parent)]
    try:
        loader = importlib.import_module("ansible.plugins.loader")
    except ImportError:
        by_ansibles_python()
    loader.init_plugin_loader([str(collections())])
    sys.exit(importlib.import_module(NAME).main(sys.argv[1:], collections()))


def collections() -> Path:
    """Return the directory below which this collection is found by its name."""
    installed = ROOT.parent.parent
    return installed.parent if installed.name == "ansible_collections" else ROOT / "collections"


def by_ansibles_python() -> None:
    """Start again with the Python that ansible-playbook has, such as that of pipx."""
    program = shutil.which("ansible-playbook")
    first = Path(program).read_bytes().partition(b"\n")[0].decode(errors="replace") if program else ""
    python = first[2:].strip()
    if not os.access(python, os.X_OK) or os.path.realpath(python) == os.path.realpath(sys.executable):
        sys.exit("tfserving-fleet: no ansible-core is installed for this Python; put ansible-playbook on the PATH")
    os.execv(python, [python, __file__, *sys.argv[1:]])


if __name__ == "__main__":
    main()
