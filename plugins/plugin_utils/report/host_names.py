# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Many host names as one short text, with the ranges of Ansible inventories: ``gpu-a[01:04], gpu-b[01:04]``."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"\d+", re.ASCII)


def folded(names: Iterable[str]) -> str:
    """Return ``names`` in natural order, with neighbours that differ only in a number as a range."""
    families: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names, key=_natural):
        before, number, after = _split(name)
        families.setdefault((before, after), []).append(number)
    return ", ".join(
        f"{before}{_range(run)}{after}" for (before, after), numbers in families.items() for run in _runs(numbers)
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def _split(name: str) -> tuple[str, str, str]:
    """Split a name at its counting number: the last in its first label or, in an address, the last of all."""
    label = name.split(".")[0]
    area = label if _NUMBER.search(label) and not label.isdigit() else name
    found = list(_NUMBER.finditer(area))
    if not found:
        return name, "", ""
    start, end = found[-1].span()
    return name[:start], name[start:end], name[end:]


def _runs(numbers: list[str]) -> list[list[str]]:
    runs: list[list[str]] = []
    for number in numbers:
        if runs and _follows(runs[-1], number):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _follows(run: list[str], number: str) -> bool:
    """Return whether ``number`` continues the range ``run``, with its leading zeros."""
    if not number or not run[-1]:
        return False
    width = len(run[0]) if run[0].startswith("0") else 0
    return str(int(run[-1]) + 1).zfill(width) == number


def _range(run: list[str]) -> str:
    return run[0] if len(run) == 1 else f"[{run[0]}:{run[-1]}]"
