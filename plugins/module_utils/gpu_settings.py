# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of GPUs as a wish: what each GPU is to have, what it may have, and the commands that bring it there.

Pure functions; `nvidia_gpu_settings` asks and runs. The commands are those of https://docs.nvidia.com/deploy/nvidia-smi/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils import gpu_state, nvidia_cells, xids
from ansible_collections.tfserving.fleet.plugins.module_utils import wish_fields as fields
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    LONGEST_NAME,
    WishError,
    described,
    is_shown,
    nearest,
    quoted,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.gpu_state import called
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia_cells import number
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

PATH = "nvidia_driver_gpu_settings"
KEYS = ("gpus", "power_limit_w", "graphics_clock_mhz", "memory_clock_mhz", "ecc", "compute_mode")
MODES = {"default": "DEFAULT", "exclusive_process": "EXCLUSIVE_PROCESS", "prohibited": "PROHIBITED"}
# How each clock is locked and let go.
CLOCKS = {
    "graphics_clock_mhz": ("--lock-gpu-clocks", "--reset-gpu-clocks"),
    "memory_clock_mhz": ("--lock-memory-clocks", "--reset-memory-clocks"),
}

# Watts and MHz; no GPU comes near.
MOST = 100_000

# What is asked of each GPU.
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


class Wish(NamedTuple):
    """One setting for one GPU, and the variable that asks for it."""

    key: str
    value: Any
    path: str


class Change(NamedTuple):
    """A setting that is not as wished: what it is, what it becomes, and how; ``undo`` brings back what it was."""

    gpu: str
    key: str
    before: str
    after: str
    command: list[str]
    undo: list[str]


def wishes(settings: Sequence[Any], gpus: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Wish]]:
    """Return the settings by GPU (UUID) and key; later entries win over earlier ones. Raises WishError."""
    found: dict[str, dict[str, Wish]] = {str(gpu["uuid"]): {} for gpu in gpus}
    for path, entry, values in _read(settings):
        for gpu in _selected(path, entry.get("gpus", "all"), gpus):
            _refuse_unusable(path, gpu)
            found[str(gpu["uuid"])] |= {key: Wish(key, value, f"{path}.{key}") for key, value in values.items()}
    return found


def _refuse_unusable(path: str, gpu: Mapping[str, Any]) -> None:
    """Refuse to set up a GPU that would not take it, or that cannot be named to nvidia-smi."""
    trouble = gpu_state.trouble(gpu)
    if trouble:
        raise WishError(path, f"{called(gpu)} {trouble.why}", xids.ADVICE[trouble.action])
    if gpu["uuid"] is None:
        raise WishError(path, f"{called(gpu)} does not tell its UUID", "leave it out, or boot the host")


def check(path: str, settings: Any) -> None:
    """Raise WishError for what is wrong whatever the GPUs are."""
    if not isinstance(settings, (list, tuple)):
        raise WishError(path, f"is {described(settings)}", "give a list of mappings")
    for _each in _read(settings):
        pass


def _read(settings: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Any]]]:
    """Yield each entry with its path, and its settings in their one form."""
    for position, entry in enumerate(settings):
        path = f"{PATH}[{position}]"
        if not isinstance(entry, Mapping):
            raise WishError(path, f"is {described(entry)}", f"give a mapping of {', '.join(KEYS)}")
        for key in entry:
            if key not in KEYS:
                raise _unknown(path, key)
        _check_names(f"{path}.gpus", entry.get("gpus", "all"))
        yield path, entry, {key: _checked(f"{path}.{key}", key, each) for key, each in entry.items() if key != "gpus"}


def _unknown(path: str, key: object) -> WishError:
    guess = nearest(key, KEYS)
    if not guess and not is_shown(key):
        return WishError(path, "holds a key that is no setting of a GPU", f"the keys are {', '.join(KEYS)}")
    return WishError(f"{path}.{key}", "is not a setting of a GPU", guess or "remove it")


def _check_names(path: str, wanted: Any) -> None:
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if isinstance(each, (bool, float)) or not isinstance(each, (int, str)) or len(str(each)) > LONGEST_NAME:
            raise WishError(path, f"names {described(each)}", "give indexes, UUIDs or names of GPUs, or all")


def _selected(path: str, wanted: Any, gpus: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the GPUs that an entry is about: all, or those whose index, UUID or name (a pattern) it lists."""
    if wanted == "all":
        return list(gpus)
    chosen = []
    for each in wanted if isinstance(wanted, list) else [wanted]:
        matching = [gpu for gpu in gpus if _matches(gpu, str(each))]
        if not matching:
            there = ", ".join(f"{gpu['index']} ({told(gpu['name'] or 'without a name', 80)})" for gpu in gpus)
            named = each if fields.is_whole(each) else quoted(each)
            raise WishError(f"{path}.gpus", f"names {named}, and the host has {there}", "choose among those, or all")
        chosen += [gpu for gpu in matching if gpu not in chosen]
    return chosen


def _matches(gpu: Mapping[str, Any], name: str) -> bool:
    return name in (gpu["index"], gpu["uuid"], gpu["name"]) or fnmatch(gpu["name"] or "", name)


def _checked(path: str, key: str, value: Any) -> Any:
    """Return a value in its one form: clocks as a pair of whole MHz."""
    if key == "ecc":
        return fields.boolean(path, value)
    if key == "compute_mode":
        if isinstance(value, str) and value in MODES:
            return value
        raise WishError(path, f"is {described(value)}", nearest(value, MODES) or f"choose one of {', '.join(MODES)}")
    values = [fields.decimal(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
    if not values or not all(fields.is_whole(each) and 0 < each <= MOST for each in values):
        raise WishError(path, f"is {described(value)}", "give a whole number" + (" or two" if key in CLOCKS else ""))
    if key == "power_limit_w":
        return values[0] if len(values) == 1 else _not_one(path)
    low, high = (values[0], values[-1])
    if len(values) > 2 or low > high:
        problem = f"is {values}" if len(values) == 2 else f"holds {len(values)} values"
        raise WishError(path, problem, "give one clock, or the lowest and the highest")
    return [low, high]


def _not_one(path: str) -> int:
    raise WishError(path, "holds several values", "give a whole number")


def changes(
    gpu: Mapping[str, Any],
    wanted: Mapping[str, Wish],
    clocks: Mapping[str, Sequence[int]],
    locks: Mapping[str, Sequence[int]],
    originals: Mapping[str, Any],
) -> list[Change]:
    """Return what has to be done to one GPU.

    :param gpu: the answers to ``FIELDS``.
    :param clocks: all clocks in MHz that the GPU has, by the keys of ``CLOCKS``.
    :param locks: the clocks that are locked now, as far as they were locked by this collection: no question tells. Two
        zeros stand for a lock that a run has begun and not ended.
    :param originals: values from before this collection's first change: what is no longer wished goes back to them.
    :raises WishError: a value is not among those that the GPU takes.
    """
    found = [_power(gpu, wanted.get("power_limit_w"), originals.get("power_limit_w"))]
    found += [_clock(gpu, key, wanted.get(key), clocks.get(key) or (), locks.get(key)) for key in CLOCKS]
    found += [_ecc(gpu, wanted.get("ecc"), originals.get("ecc"))]
    found += [_mode(gpu, wanted.get("compute_mode"), originals.get("compute_mode"))]
    return [change for change in found if change]


def _lacking(gpu: Mapping[str, Any], wish: Wish, what: str, field: str = "") -> WishError:
    if gpu.get("absent", {}).get(field) in nvidia_cells.UNTOLD:
        return WishError(wish.path, f"nvidia-smi could not tell the {what} of {called(gpu)}", "see nvidia-smi -q")
    return WishError(wish.path, f"{called(gpu)} has no {what} to set", "leave it out for this GPU")


def _power(gpu: Mapping[str, Any], wish: Wish | None, original: float | None) -> Change | None:
    now = number(gpu["power.limit"])
    if wish:
        low, high = number(gpu["power.min_limit"]), number(gpu["power.max_limit"])
        if now is None or low is None or high is None:
            raise _lacking(gpu, wish, "power limit", "power.limit")
        if not low <= wish.value <= high:
            problem = f"{wish.value} W is outside of what {called(gpu)} takes, {low:g} to {high:g} W"
            raise WishError(wish.path, problem, "give a value within")
    target = float(wish.value) if wish else original
    if target is None or now is None or abs(now - target) < 0.5:  # nvidia-smi shows hundredths of what may be rounded
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
        problem = f"{asked} is outside of what {called(gpu)} takes, {min(known)} to {max(known)} MHz"
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
    """Return the commands that set again at boot what GPUs forget; ECC stays in the GPU itself."""
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
