# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages are to be held, which of them this collection holds itself, and the difference."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ..disk.record import Record


class Difference(NamedTuple):
    """What to change: names to hold, names to let go, and the names that are ours afterwards."""

    hold: list[str]
    release: list[str]
    ours: list[str]


def difference(wanted: Collection[str], held: Collection[str], ours: Collection[str]) -> Difference:
    """Return the change from ``held`` to ``wanted``. Holds that someone else has set are neither taken nor lifted."""
    hold = sorted(set(wanted) - set(held))
    release = sorted((set(ours) & set(held)) - set(wanted))
    kept = set(ours) & set(held) & set(wanted)
    return Difference(hold, release, sorted(kept | set(hold)))


def record(folder: str, name: str) -> Record:
    """Return the record of the holds of one set that are ours: a list of names."""
    remedy = "move it away, and lift by hand what is not to stay held"
    return Record(f"{folder}/{name}.json", [str], remedy, folder=0o700)
