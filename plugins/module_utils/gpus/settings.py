# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPU settings: the changes that bring each GPU in line with its wishes, and the values it accepts.

Pure functions; `nvidia_gpu_settings` queries and runs. The commands are those of
https://docs.nvidia.com/deploy/nvidia-smi/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import WishError
from ..nvidia import cells as nvidia_cells
from ..nvidia import state as gpu_state
from ..nvidia.cells import number
from ..nvidia.state import called
from .setting_wishes import MODES, Wish

# The options that lock and reset each clock.
CLOCKS = {
    "graphics_clock_mhz": ("--lock-gpu-clocks", "--reset-gpu-clocks"),
    "memory_clock_mhz": ("--lock-memory-clocks", "--reset-memory-clocks"),
}

# Fields queried of each GPU.
FIELDS = (
    "power.limit",
    "power.default_limit",
    "power.min_limit",
    "power.max_limit",
    "ecc.mode.current",
    "ecc.mode.pending",
    "compute_mode",
    *gpu_state.FIELDS,
)


class Change(NamedTuple):
    """A setting that differs from its wish: before, after, and the command; ``undo`` restores the value before."""

    gpu: str
    key: str
    before: str
    after: str
    command: list[str]
    undo: list[str]


def changes(
    gpu: Mapping[str, Any],
    wanted: Mapping[str, Wish],
    clocks: Mapping[str, Sequence[int]],
    locks: Mapping[str, Sequence[int]],
    originals: Mapping[str, Any],
) -> list[Change]:
    """Return the changes that one GPU needs.

    :param gpu: the answers to ``FIELDS``.
    :param clocks: all clocks in MHz that the GPU supports, by the keys of ``CLOCKS``.
    :param locks: the clocks that this collection has locked; no query reports locks. Two zeros stand for a lock that a
        run began and did not finish.
    :param originals: values from before this collection's first change, restored when a setting is no longer wished.
    :raises WishError: a value is not among those that the GPU accepts.
    """
    found = [_power(gpu, wanted.get("power_limit_w"), originals.get("power_limit_w"))]
    found += [_clock(gpu, key, wanted.get(key), clocks.get(key) or (), locks.get(key)) for key in CLOCKS]
    found += [_ecc(gpu, wanted.get("ecc"), originals.get("ecc"))]
    found += [_mode(gpu, wanted.get("compute_mode"), originals.get("compute_mode"))]
    return [change for change in found if change]


def _lacking(gpu: Mapping[str, Any], wish: Wish, what: str, field: str = "") -> WishError:
    if gpu.get("absent", {}).get(field) in nvidia_cells.UNTOLD:
        return WishError(wish.path, f"nvidia-smi could not report the {what} of {called(gpu)}", "see nvidia-smi -q")
    return WishError(wish.path, f"{called(gpu)} has no {what} to set", "leave it out for this GPU")


def _power(gpu: Mapping[str, Any], wish: Wish | None, original: float | None) -> Change | None:
    now = number(gpu["power.limit"])
    if wish:
        low, high = number(gpu["power.min_limit"]), number(gpu["power.max_limit"])
        if now is None or low is None or high is None:
            raise _lacking(gpu, wish, "power limit", "power.limit")
        if not low <= wish.value <= high:
            problem = f"{wish.value} W is outside the range of {called(gpu)}, {low:g} to {high:g} W"
            raise WishError(wish.path, problem, "give a value within")
    target = float(wish.value) if wish else original
    if target is None or now is None or abs(now - target) < 0.5:  # nvidia-smi shows hundredths, perhaps rounded
        return None
    return _change(
        gpu, "power_limit_w", f"{now:g} W", f"{target:g} W", f"--power-limit={target:g}", f"--power-limit={now:g}"
    )


def _clock(
    gpu: Mapping[str, Any], key: str, wish: Wish | None, known: Sequence[int], locked: Sequence[int] | None
) -> Change | None:
    lock, reset = CLOCKS[key]
    undo = f"{lock}={locked[0]},{locked[1]}" if locked and any(locked) else reset
    before = _lock_in_words(locked)
    if wish is None:
        return _change(gpu, key, before, "not locked", reset, undo) if locked else None
    if not known:
        raise _lacking(gpu, wish, f"{key.split('_')[0]} clock")
    if wish.value[0] < min(known) or wish.value[1] > max(known):
        asked = f"{wish.value[0]}-{wish.value[1]} MHz"
        problem = f"{asked} is outside the range of {called(gpu)}, {min(known)} to {max(known)} MHz"
        raise WishError(wish.path, problem, "give clocks within")
    if locked and list(locked) == wish.value:
        return None
    low, high = wish.value
    return _change(gpu, key, before, f"locked to {low}-{high} MHz", f"{lock}={low},{high}", undo)


def _lock_in_words(locked: Sequence[int] | None) -> str:
    if not locked:
        return "not locked"
    return f"locked to {locked[0]}-{locked[1]} MHz" if any(locked) else "locked by a run that ended there"


def _ecc(gpu: Mapping[str, Any], wish: Wish | None, original: bool | None) -> Change | None:
    pending = gpu["ecc.mode.pending"]
    if wish and pending is None:
        raise _lacking(gpu, wish, "ECC", "ecc.mode.pending")
    target = wish.value if wish else original
    if target is None or pending is None or (pending == "Enabled") == target:
        return None
    after, option = "enabled" if target else "disabled", "--ecc-config"
    return _change(gpu, "ecc", pending.lower(), after, f"{option}={int(target)}", f"{option}={int(not target)}")


def _mode(gpu: Mapping[str, Any], wish: Wish | None, original: str | None) -> Change | None:
    now = (gpu["compute_mode"] or "").lower()
    if wish and not now:
        raise _lacking(gpu, wish, "compute mode", "compute_mode")
    target = wish.value if wish else original
    if target is None or now == target:
        return None
    option = "--compute-mode"
    return _change(gpu, "compute_mode", now, target, f"{option}={MODES[target]}", f"{option}={now.upper()}")


def _change(gpu: Mapping[str, Any], key: str, before: str, after: str, argument: str, undo: str) -> Change:
    program = ["nvidia-smi", f"--id={gpu['uuid']}"]
    return Change(str(gpu["uuid"]), key, before, after, [*program, argument], [*program, undo])


def boot_commands(wanted: Mapping[str, Mapping[str, Wish]]) -> list[list[str]]:
    """Return the commands that restore at boot the settings that GPUs forget; ECC is stored in the GPU itself."""
    commands = []
    for uuid in sorted(wanted):
        for key, wish in sorted(wanted[uuid].items()):
            if key == "power_limit_w":
                commands.append([f"--id={uuid}", f"--power-limit={wish.value}"])
            elif key in CLOCKS:
                commands.append([f"--id={uuid}", f"{CLOCKS[key][0]}={wish.value[0]},{wish.value[1]}"])
            elif key == "compute_mode":
                commands.append([f"--id={uuid}", f"--compute-mode={MODES[wish.value]}"])
    return [["nvidia-smi", *command] for command in commands]


def pending_reasons(gpus: Sequence[Mapping[str, Any]], made: Sequence[Change]) -> list[str]:
    """Return a sentence for each GPU whose ECC mode changes at its next reset; ``made`` are changes of this run."""
    changed = {change.gpu: change.after for change in made if change.key == "ecc"}
    reasons = []
    for gpu in gpus:
        current, pending = gpu["ecc.mode.current"], gpu["ecc.mode.pending"]
        after = changed.get(str(gpu["uuid"]), (pending or "").lower())
        if current is not None and after and current.lower() != after:
            reasons.append(f"ECC of {called(gpu)} becomes {after} with the next reset")
    return reasons
