# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The map of a machine as a picture: the position of every socket, node, core and device, in pixels.

All nodes have one size, and so have all sockets, so that they line up. The numbers of cores in a row, of nodes in a
socket and of sockets side by side are found by trial: the lowest picture that is not too wide wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from . import core_rows
from .sheet import FREE, Board, Device, Machine, Node

# The width of the page.
WIDEST = 1120
CORES_IN_ROW = (4, 8, 16, 32)

CELL_WIDTH, CELL_HEIGHT = 25, 16
THREAD_GAP, CORE_GAP, ROW_GAP = 1, 3, 7
# Eight cores can be counted at a glance.
TOGETHER, TOGETHER_GAP = 8, 5
# Maximum widths of a monospaced character: titles and names in 11 px, labels in 10 px, details in 9.5 px.
TITLE_SIGN, LABEL_SIGN, DETAIL_SIGN = 7.2, 6.3, 5.9
LABEL_GAP = 8
PAD, GAP = 12, 12
HEAD, SOCKET_GAP = 26, 4
CHIP_GAP, RAIL = 6, 14
GPU_HEIGHT, NIC_HEIGHT = 36, 24
BADGE, BADGES_IN_COLUMN = 19, 2


@dataclass(frozen=True)
class Frame:
    """A socket or a node."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str
    detail: str


@dataclass(frozen=True)
class Cell:
    """One CPU, or a part of a device's badge; ``hint`` is its tooltip."""

    x: float
    y: float
    width: float
    height: float
    owner: str
    hint: str


@dataclass(frozen=True)
class Label:
    """The CPUs of a row, right-aligned at x."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chip:
    """A GPU or a NIC; badges show its owners."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    device: Device
    text_x: float
    badges: tuple[Cell, ...]


@dataclass
class Picture:
    """All shapes, in drawing order."""

    width: float
    height: float
    frames: list[Frame] = field(default_factory=list)
    rails: list[str] = field(default_factory=list)
    """Paths of lines from nodes to their devices."""
    cells: list[Cell] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    chips: list[Chip] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """One way to arrange the picture."""

    cores: int
    nodes: int
    boards: int
    label: float
    card: tuple[float, float]
    """Size of a node without its devices."""
    devices: float
    """Height of the devices below a node."""
    board: tuple[float, float]
    size: tuple[float, float]


def picture(machine: Machine) -> Picture:
    """Return the picture of a machine."""
    plan = _arranged(machine)
    names = {owner.key: owner.name for owner in machine.owners}
    drawn = Picture(*plan.size)
    for number, board in enumerate(machine.boards):
        x = number % plan.boards * (plan.board[0] + GAP)
        y = number // plan.boards * (plan.board[1] + GAP)
        drawn.frames.append(Frame("socket", x, y, *plan.board, board.title, ""))
        for place, node in enumerate(board.nodes):
            left = x + PAD + place % plan.nodes * (plan.card[0] + GAP)
            top = y + HEAD + SOCKET_GAP + place // plan.nodes * (plan.card[1] + plan.devices + GAP)
            _draw_node(drawn, plan, node, names, left, top)
    return drawn


def _arranged(machine: Machine) -> _Plan:
    deepest = max(len(board.nodes) for board in machine.boards)
    plans = [
        _measured(machine.boards, cores, nodes, boards)
        for cores in CORES_IN_ROW
        for nodes in range(1, deepest + 1)
        for boards in range(1, len(machine.boards) + 1)
    ]
    fitting = [plan for plan in plans if plan.size[0] <= WIDEST]
    # Among pictures of one height, take the narrowest. If none fits, take the narrowest of all; the page scrolls it.
    if fitting:
        return min(fitting, key=lambda plan: (plan.size[1], plan.size[0]))
    return min(plans, key=lambda plan: plan.size)


def _measured(boards: Sequence[Board], cores: int, per_board: int, per_row: int) -> _Plan:
    """Return the sizes of an arrangement with rows of ``cores``, ``per_board`` nodes and ``per_row`` boards."""
    nodes = [node for board in boards for node in board.nodes]
    label, card = _card_size(nodes, cores)
    devices = max(sum(height + CHIP_GAP for _chips, height, _width in _chip_rows(node, card[0])) for node in nodes)
    down = math.ceil(max(len(board.nodes) for board in boards) / per_board)
    board = (
        2 * PAD + _repeated(per_board, card[0]),
        HEAD + SOCKET_GAP + _repeated(down, card[1] + devices) + PAD,
    )
    rows = math.ceil(len(boards) / per_row)
    return _Plan(
        cores,
        per_board,
        per_row,
        label,
        card,
        devices,
        board,
        (_repeated(per_row, board[0]), _repeated(rows, board[1])),
    )


def _card_size(nodes: Sequence[Node], cores: int) -> tuple[float, tuple[float, float]]:
    """Return the width of the labels, and the size of the largest node without its devices."""
    rows_of = [list(core_rows.rows(node.blocks, cores)) for node in nodes]
    lines = [line for rows in rows_of for row in rows for line in row]
    label = max((len(line.label) for line in lines), default=0) * LABEL_SIGN + LABEL_GAP
    grid = _grid_width(max((len(line.threads) for line in lines), default=0))
    title = max(len(f"{node.title}  {node.detail}") for node in nodes) * TITLE_SIGN
    chip = max((_chip_width(device) for node in nodes for device in (*node.gpus, *node.nics)), default=0)
    tallest = max(sum(_row_height(row) + ROW_GAP for row in rows) - ROW_GAP * bool(rows) for rows in rows_of)
    return label, (2 * PAD + max(label + grid, title, chip + RAIL), HEAD + PAD + tallest)


def _repeated(times: int, size: float) -> float:
    return times * (size + GAP) - GAP


def _left(place: int) -> float:
    """Return the offset of a core in its row."""
    return place * (CELL_WIDTH + CORE_GAP) + place // TOGETHER * TOGETHER_GAP


def _grid_width(cores: int) -> float:
    return _left(cores - 1) + CELL_WIDTH if cores else 0


def _row_height(row: Sequence[core_rows.Line]) -> float:
    return len(row) * (CELL_HEIGHT + THREAD_GAP) - THREAD_GAP


def _draw_node(drawn: Picture, plan: _Plan, node: Node, names: dict[str, str], x: float, y: float) -> None:
    drawn.frames.append(Frame("node", x, y, *plan.card, node.title, node.detail))
    top = y + HEAD
    for row in core_rows.rows(node.blocks, plan.cores):
        for number, line in enumerate(row):
            line_y = top + number * (CELL_HEIGHT + THREAD_GAP)
            drawn.labels.append(Label(x + PAD + plan.label - LABEL_GAP, line_y + CELL_HEIGHT / 2, line.label))
            for place, cell in enumerate(line.threads):
                if cell:
                    left = x + PAD + plan.label + _left(place)
                    hint = f"CPU {cell[0]}: {names[cell[1]]}"
                    drawn.cells.append(Cell(left, line_y, CELL_WIDTH, CELL_HEIGHT, cell[1], hint))
        top += _row_height(row) + ROW_GAP
    _draw_devices(drawn, plan, node, names, x, y + plan.card[1])


def _draw_devices(drawn: Picture, plan: _Plan, node: Node, names: dict[str, str], x: float, y: float) -> None:
    trunk, top, end = x + PAD, y, y
    for devices, height, width in _chip_rows(node, plan.card[0]):
        top += CHIP_GAP
        end = top + height / 2
        left = x + PAD + RAIL
        for device in devices:
            kind = "gpu" if height == GPU_HEIGHT else "nic"
            badges = tuple(_badges(device, names, left, top, height)) if kind == "gpu" else ()
            text = left + (badges_width(device) + 9 if badges else 9)
            drawn.chips.append(Chip(kind, left, top, width, height, device, text, badges))
            left += width + CHIP_GAP
        drawn.rails.append(f"M{trunk:g} {end:g}H{left - width - CHIP_GAP:g}")
        top += height
    if end > y:
        drawn.rails.append(f"M{trunk:g} {y:g}V{end:g}")


def _badges(device: Device, names: dict[str, str], x: float, y: float, height: float) -> Iterator[Cell]:
    """Yield the owners of a GPU at its left edge, in columns of two."""
    owners = device.owners or (FREE,)
    each = (height - 8) / min(len(owners), BADGES_IN_COLUMN)
    for number, owner in enumerate(owners):
        left = x + 4 + number // BADGES_IN_COLUMN * BADGE
        top = y + 4 + number % BADGES_IN_COLUMN * each
        hint = f"{device.label}: {names.get(owner, 'free')}"
        yield Cell(left, top, BADGE - 1, each - (len(owners) > 1), owner, hint)


def badges_width(device: Device) -> float:
    """Return the width of the owners' badges on a GPU."""
    return BADGE * math.ceil(max(1, len(device.owners)) / BADGES_IN_COLUMN)


def _chip_rows(node: Node, card: float) -> Iterator[tuple[Sequence[Device], float, float]]:
    """Yield the rows of devices below a node, with their height and the width of each device."""
    for devices, height in ((node.gpus, GPU_HEIGHT), (node.nics, NIC_HEIGHT)):
        if devices:
            width = max(map(_chip_width, devices))
            room = max(1, int((card - PAD - RAIL + CHIP_GAP) // (width + CHIP_GAP)))
            # Rows of equal length look better than a full row and a remainder.
            each = math.ceil(len(devices) / math.ceil(len(devices) / room))
            for start in range(0, len(devices), each):
                yield devices[start:][:each], height, width


def _chip_width(device: Device) -> float:
    if device.label.startswith("GPU "):
        return badges_width(device) + 15 + max(TITLE_SIGN * len(device.label), DETAIL_SIGN * len(device.detail))
    return 25 + TITLE_SIGN * len(device.label) + DETAIL_SIGN * len(device.detail)
