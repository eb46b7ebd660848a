# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The map of a machine for the terminal: one character for each CPU, the threads of a core below each other."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from ..phrases import counted
from . import core_rows
from .sheet import Device, Machine, Node

WIDTH = 100
# 64 characters in groups of eight are 71 columns wide, which fits with indent and label.
CORES_IN_ROW = 64
# Eight characters can be counted at a glance.
TOGETHER = 8
LABEL = core_rows.LONGEST_LABEL
INDENT = " " * 4
FREE_DEVICE = "free"


def text_map(machine: Machine) -> Iterator[str]:
    """Yield the lines of the map and its legend."""
    glyphs = {owner.key: owner.glyph for owner in machine.owners}
    for board in machine.boards:
        yield f"  {board.title}"
        for node in board.nodes:
            yield from _node(node, glyphs)
        yield ""
    yield from wrapped("  ", _legend(machine), between="   ")


def wrapped(first: str, parts: Iterable[str], between: str = "  ", hanging: str | None = None) -> list[str]:
    """Return ``parts`` wrapped into lines; a part is never broken."""
    lines, current = [], first
    for part in parts:
        joined = current + (between if current.strip() and current != first else "") + part
        if len(joined) > WIDTH and current != first:
            lines.append(current.rstrip())
            first = current = " " * len(first) if hanging is None else hanging
            joined = current + part
        current = joined
    return [*lines, current.rstrip()]


def prose(text: str, indent: str) -> list[str]:
    """Return text wrapped into lines; long words are not broken."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _node(node: Node, glyphs: dict[str, str]) -> Iterator[str]:
    yield INDENT + ", ".join(filter(None, (node.title, node.detail)))
    rows = list(core_rows.rows(node.blocks, CORES_IN_ROW))
    for number, row in enumerate(rows):
        if number and len(row) > 1:
            yield ""
        for line in row:
            yield f"{INDENT}{line.label:>{LABEL}}  {_signs(line, glyphs)}".rstrip()
    if node.gpus:
        yield from _devices("GPUs", [_gpu(gpu, glyphs) for gpu in node.gpus])
    if node.nics:
        yield from _devices("NICs", [" ".join(filter(None, (nic.label, nic.detail))) for nic in node.nics])


def _signs(line: core_rows.Line, glyphs: dict[str, str]) -> str:
    signs = "".join(" " if cell is None else glyphs[cell[1]] for cell in line.threads)
    return " ".join(signs[start:][:TOGETHER] for start in range(0, len(signs), TOGETHER))


def _devices(title: str, devices: Sequence[str]) -> list[str]:
    return wrapped(f"{INDENT}{title:>{LABEL}}  ", devices, between="   ")


def _gpu(gpu: Device, glyphs: dict[str, str]) -> str:
    owners = "".join(glyphs[key] for key in gpu.owners) or FREE_DEVICE
    return f"{gpu.label.removeprefix('GPU ')} {owners}"


def _legend(machine: Machine) -> Iterator[str]:
    for owner in machine.owners:
        yield f"{owner.glyph} {owner.name} ({counted(owner.cpus, 'CPU')})"
