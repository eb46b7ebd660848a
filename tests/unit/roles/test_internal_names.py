# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What begins with ``__`` and the name of a role is that role's own: others read what it leaves under a public name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from repository import REPOSITORY

ROLES = {path.name for path in (REPOSITORY / "roles").iterdir()}
INTERNAL = re.compile(r"\b__([a-z_]+)")
FILES = sorted(
    [*REPOSITORY.glob("roles/*/**/*.yml"), *REPOSITORY.glob("roles/*/**/*.j2"), *REPOSITORY.glob("playbooks/**/*.yml")]
)


def owners(name: str) -> set[str]:
    return {role for role in ROLES if name.startswith(f"{role}_")}


def own(path: Path) -> str:
    floor, role, *_rest = path.relative_to(REPOSITORY).parts
    return role if floor == "roles" else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nobody_reads_what_belongs_to_another_role(path):
    names = set(INTERNAL.findall(path.read_text(encoding="utf-8")))
    assert {name for name in names if owners(name) - {own(path)}} == set()


def test_every_role_has_names_of_its_own():
    assert owners("tfserving_files") == {"tfserving"}
    assert any(INTERNAL.search(path.read_text(encoding="utf-8")) for path in FILES)
