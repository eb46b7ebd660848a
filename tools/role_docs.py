#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes the variables and the example in every role's README from its argument specs::

make docs                   # rewrites them; what is written around them by hand stays
tools/role_docs.py --check  # names what is out of date or a poor example, by exit status 1; part of `make lint`
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "tools" / "role_readme.md.j2"
COLLECTION = "tfserving.fleet"

BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What a role needs and another one finds out; nobody writes it into a play.
PROVIDED = {"host_plan": {"tfserving_plan", "tfserving_plan_secrets"}}


def write(role: Path) -> None:
    """Write the generated part of the role's README."""
    command = ["aar-doc", "--output-mode", "inject", "--output-template", str(TEMPLATE), str(role), "markdown"]
    subprocess.run(command, cwd=role.parents[1], check=True, capture_output=True)


def is_current(role: Path, scratch: Path) -> bool:
    """Return whether writing the role's README would change nothing."""
    copy = scratch / "roles" / role.name
    shutil.copytree(role, copy)
    write(copy)
    return (copy / "README.md").read_bytes() == (role / "README.md").read_bytes()


def problems(role: Path) -> list[str]:
    """Return what is wrong with the YAML in the role's README: all of it is YAML, the last block is a play."""
    blocks = BLOCK.findall((role / "README.md").read_text(encoding="utf-8"))
    try:
        *_others, example = [yaml.safe_load(block) for block in blocks]
    except ValueError:
        return [f"{role.name}: README.md has no example"]
    except yaml.YAMLError as error:
        return [f"{role.name}: README.md has a block that is no YAML ({' '.join(str(error).split())})"]
    return [f"{role.name}: the example {problem}" for problem in _example_problems(role, example)]


def _example_problems(role: Path, plays: Any) -> Iterator[str]:
    if not isinstance(plays, list) or not all({"name", "hosts"} <= set(play) for play in plays):
        yield "is no list of plays with a name and hosts"
        return
    used = [each for play in plays for each in play.get("roles", [])]
    options = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    found = next((each for each in used if each["role"] == f"{COLLECTION}.{role.name}"), None)
    if found is None:
        yield f"does not run {COLLECTION}.{role.name}"
        return
    given = set(found.get("vars", {}))
    yield from (f"sets {name}, which the role does not know" for name in sorted(given - set(options)))
    before = [each["role"].rpartition(".")[2] for each in used[: used.index(found)]]
    provided = given.union(*(PROVIDED.get(name, set()) for name in before))
    required = {name for name, option in options.items() if option.get("required")}
    yield from (f"lacks {name}, which is required" for name in sorted(required - provided))


def main() -> int:
    """Write the READMEs, or check them; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is wrong")
    roles = sorted(path.parents[1] for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
    if not parser.parse_args().check:
        for role in roles:
            write(role)
        print(f"{len(roles)} READMEs")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "galaxy.yml", folder)  # the collection's name and version stand in each README
        stale = [role.name for role in roles if not is_current(role, Path(folder))]
    found = [f"{name}: README.md is out of date; run make docs" for name in stale]
    found += [problem for role in roles for problem in problems(role)]
    print("\n".join(found) if found else "The READMEs of all roles are current.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
