# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans and makes the changes to a host's GPU settings, one nvidia-smi call at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..errors import WishError
from ..nvidia import cells as nvidia_cells
from ..nvidia import query as nvidia_query
from ..nvidia.query import Ask
from ..nvidia.smi import NvidiaSmiError
from . import setting_wishes as gpu_setting_wishes
from . import settings as gpu_settings
from . import settings_memory as gpu_settings_memory
from .setting_wishes import Wish
from .settings import Change
from .settings_memory import Memory

# The names of the clocks in `--query-supported-clocks`.
SUPPORTED = {"graphics_clock_mhz": "graphics", "memory_clock_mhz": "memory"}
# nvidia-smi prints this, and exits as if all were well, if a GPU cannot be set, such as the clocks of Pascal.
NOT_DONE = "Treating as warning and moving on"

# A completed change, with the previous lock of its clock.
Made = tuple[Change, Optional[Sequence[int]]]


def _supported_clocks(ask: Ask, uuid: str) -> dict[str, list[int]]:
    """Return all supported clocks of a GPU in MHz."""
    rows = nvidia_query.rows(ask, "supported-clocks", tuple(SUPPORTED.values()), f"--id={uuid}")
    found = {key: {nvidia_cells.number(row[name]) for row in rows} for key, name in SUPPORTED.items()}
    return {key: sorted(int(value) for value in values if value) for key, values in found.items()}


def _original(gpu: Mapping[str, Any], key: str) -> Any:
    """Return a setting's value before its change, in the form of a wish."""
    if key == "power_limit_w":
        return nvidia_cells.number(gpu["power.limit"])
    return gpu["ecc.mode.pending"] == "Enabled" if key == "ecc" else gpu["compute_mode"].lower()


def plan(
    ask: Ask, gpus: Sequence[Mapping[str, Any]], settings: Sequence[Any], memory: Memory
) -> tuple[dict[str, dict[str, Wish]], list[Change]]:
    """Return the wishes by GPU and all changes that they require. Raises WishError before any change."""
    wanted = gpu_setting_wishes.wishes(settings, gpus)
    changes: list[Change] = []
    for gpu in gpus:
        uuid = str(gpu["uuid"])
        clocks = _supported_clocks(ask, uuid) if any(key in wanted[uuid] for key in SUPPORTED) else {}
        remembered = memory.originals.get(uuid, {}), memory.locks.get(uuid, {})
        changes += gpu_settings.changes(gpu, wanted[uuid], clocks, remembered[1], remembered[0])
    return wanted, changes


def carry_out(
    ask: Ask,
    gpus: Sequence[Mapping[str, Any]],
    wanted: Mapping[str, Mapping[str, Wish]],
    changes: Sequence[Change],
    memory: Memory,
) -> None:
    """Run the commands, recording each previous value; if one is refused, undo those before it.

    Raises WishError with the refused setting and those restored.
    """
    by_uuid = {gpu["uuid"]: gpu for gpu in gpus}
    made: list[Made] = []
    for change in changes:
        wish = wanted[change.gpu].get(change.key)
        locked = memory.locks.get(change.gpu, {}).get(change.key)
        if change.key in SUPPORTED:
            memory.lock(change.gpu, change.key, gpu_settings_memory.UNSURE)
        elif wish:
            before = _original(by_uuid[change.gpu], change.key)
            memory.originals.setdefault(change.gpu, {}).setdefault(change.key, before)
            memory.write()
        try:
            said = ask(tuple(change.command[1:])) or ""
            # If a restored original cannot be set, it never was.
            if wish and NOT_DONE in said:
                raise NvidiaSmiError(f"nvidia-smi says: {' '.join(said.split())}")
        except NvidiaSmiError as error:
            path = wish.path if wish else gpu_setting_wishes.PATH
            problem = f"{change.key} of {change.gpu} could not be set ({change.before} -> {change.after})"
            raise WishError(path, problem, f"{error}{_take_back(ask, made, memory)}") from None
        if change.key in SUPPORTED:
            memory.lock(change.gpu, change.key, wish.value if wish else None)
        made.append((change, locked))
    memory.keep(wanted)


def _take_back(ask: Ask, made: Sequence[Made], memory: Memory) -> str:
    """Undo changes in reverse order, each with the previous lock of its clock; return the outcome."""
    left = []
    for change, locked in reversed(made):
        try:
            ask(tuple(change.undo[1:]))
        except NvidiaSmiError:
            left.append(f"{change.key} of {change.gpu} ({change.after})")
            continue
        if change.key in SUPPORTED:
            memory.lock(change.gpu, change.key, locked)
    if left:
        return f"; earlier settings are restored, except for {', '.join(left)}"
    return "; earlier settings are restored" if made else ""
