# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of cores, labelled with their CPUs, for both the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list

from .sheet import Core

# "128-143" and "0-5,12-19" fit; a longer label shows only its ends.
LONGEST_LABEL = 12


@dataclass(frozen=True)
class Line:
    """One thread of each core in a row: (CPU, key of its owner), or None if a core has fewer threads."""

    label: str
    threads: tuple[tuple[int, str] | None, ...]


def rows(blocks: Sequence[Sequence[Core]], length: int) -> Iterator[tuple[Line, ...]]:
    """Yield rows of at most ``length`` cores, each as lines: first threads, second threads and so on."""
    for block in blocks:
        for start in range(0, len(block), length):
            yield tuple(_lines(block[start:][:length]))


def _lines(cores: Sequence[Core]) -> Iterator[Line]:
    for thread in range(max(len(core.cpus) for core in cores)):
        cells = tuple((core.cpus[thread], core.owners[thread]) if thread < len(core.cpus) else None for core in cores)
        yield Line(_label([cell[0] for cell in cells if cell]), cells)


def _label(cpus: Sequence[int]) -> str:
    label = cpu_list.format(cpus)
    return label if len(label) <= LONGEST_LABEL else f"{min(cpus)}…{max(cpus)}"
