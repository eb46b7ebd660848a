# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Package holds: the wanted ones, those that this collection has set, and the difference."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ..disk.record import Record


class Difference(NamedTuple):
    """The change: names to hold, names to release, and the names that are ours afterwards."""

    hold: list[str]
    release: list[str]
    ours: list[str]


def difference(wanted: Collection[str], held: Collection[str], ours: Collection[str]) -> Difference:
    """Return the change from ``held`` to ``wanted``. Holds set by others are neither taken over nor lifted."""
    hold = sorted(set(wanted) - set(held))
    release = sorted((set(ours) & set(held)) - set(wanted))
    kept = set(ours) & set(held) & set(wanted)
    return Difference(hold, release, sorted(kept | set(hold)))


def record(folder: str, name: str) -> Record:
    """Return the record of our holds of one set: a list of names."""
    remedy = "move it away, and lift by hand what is not to stay held"
    return Record(f"{folder}/{name}.json", [str], remedy, folder=0o700)
