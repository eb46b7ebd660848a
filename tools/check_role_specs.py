#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares every role's defaults with its argument specs, key by key and value by value.

The specs document and validate, the defaults act: ansible-core applies neither from the other, so they drift apart
unless something compares them. Exits with 1 and one line per difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"


def load(path: Path) -> dict:
    """Return the YAML mapping in ``path``, empty when the file is not there."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def differences(role: Path) -> list[str]:
    """Return a sentence for every variable that stands in one place only, or differs, in ``role``."""
    specs = load(role / "meta/argument_specs.yml").get("argument_specs", {})
    if "main" not in specs:
        return [f"{role.name}: meta/argument_specs.yml has no entry point main"]
    options = {name: spec for name, spec in specs["main"]["options"].items() if not spec.get("required")}
    defaults = load(role / "defaults/main.yml")
    found = [
        f"{role.name}: {name} is in defaults/main.yml but not in the specs" for name in defaults.keys() - options.keys()
    ]
    for name, spec in options.items():
        if "default" not in spec:
            found += (
                [f"{role.name}: {name} is in defaults/main.yml, its spec names no default"] if name in defaults else []
            )
        elif name not in defaults:
            found.append(f"{role.name}: {name} has a default in the specs but none in defaults/main.yml")
        elif spec["default"] != defaults[name]:
            found.append(
                f"{role.name}: {name} is {defaults[name]!r} in defaults/main.yml, {spec['default']!r} in the specs"
            )
    return sorted(found)


def main() -> int:
    """Compare all roles; return the exit status."""
    found = [line for role in sorted(ROLES.iterdir()) if role.is_dir() for line in differences(role)]
    print("\n".join(found) if found else "Defaults and argument specs of all roles agree.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
