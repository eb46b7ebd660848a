# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPU settings as wishes: the valid entries of nvidia_driver_gpu_settings, and those that apply to each GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, NamedTuple

from .. import scalars
from ..errors import LONGEST_NAME, WishError, described, is_shown, nearest, quoted
from ..nvidia import state as gpu_state
from ..nvidia import xids
from ..nvidia.state import called
from ..visible_text import told

PATH = "nvidia_driver_gpu_settings"
KEYS = ("gpus", "power_limit_w", "graphics_clock_mhz", "memory_clock_mhz", "ecc", "compute_mode")
MODES = {"default": "DEFAULT", "exclusive_process": "EXCLUSIVE_PROCESS", "prohibited": "PROHIBITED"}
CLOCKS = ("graphics_clock_mhz", "memory_clock_mhz")

# Watts and MHz; no GPU comes near.
MOST = 100_000


class Wish(NamedTuple):
    """One setting for one GPU, and the variable that asks for it."""

    key: str
    value: Any
    path: str


def wishes(settings: Sequence[Any], gpus: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Wish]]:
    """Return the settings by GPU (UUID) and key; later entries override earlier ones. Raises WishError."""
    found: dict[str, dict[str, Wish]] = {str(gpu["uuid"]): {} for gpu in gpus}
    for path, entry, values in _read(settings):
        for gpu in _selected(path, entry.get("gpus", "all"), gpus):
            _refuse_unusable(path, gpu)
            found[str(gpu["uuid"])] |= {key: Wish(key, value, f"{path}.{key}") for key, value in values.items()}
    return found


def _refuse_unusable(path: str, gpu: Mapping[str, Any]) -> None:
    """Refuse to configure a GPU that would not accept it, or that nvidia-smi cannot address."""
    trouble = gpu_state.trouble(gpu)
    if trouble:
        raise WishError(path, f"{called(gpu)} {trouble.why}", xids.ADVICE[trouble.action])
    if gpu["uuid"] is None:
        raise WishError(path, f"{called(gpu)} {gpu_state.NO_UUID}", "leave it out, or reboot the host")


def check(path: str, settings: Any) -> None:
    """Raise WishError for mistakes that do not depend on the GPUs."""
    if not isinstance(settings, (list, tuple)):
        raise WishError(path, f"is {described(settings)}", "give a list of mappings")
    for _each in _read(settings):
        pass


def _read(settings: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Any]]]:
    """Yield each entry's path, the entry and its settings in normal form."""
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
    """Return the GPUs that an entry selects: all, or those whose index, UUID or name (a pattern) it lists."""
    if wanted == "all":
        return list(gpus)
    chosen = []
    for each in wanted if isinstance(wanted, list) else [wanted]:
        matching = [gpu for gpu in gpus if _matches(gpu, str(each))]
        if not matching:
            there = ", ".join(f"{gpu['index']} ({told(gpu['name'] or 'without a name', 80)})" for gpu in gpus)
            named = each if scalars.is_whole(each) else quoted(each)
            raise WishError(f"{path}.gpus", f"names {named}, and the host has {there}", "choose among those, or all")
        chosen += [gpu for gpu in matching if gpu not in chosen]
    return chosen


def _matches(gpu: Mapping[str, Any], name: str) -> bool:
    return name in (gpu["index"], gpu["uuid"], gpu["name"]) or fnmatch(gpu["name"] or "", name)


def _checked(path: str, key: str, value: Any) -> Any:
    """Return a value in normal form: clocks as a pair of whole MHz."""
    if key == "ecc":
        return scalars.boolean(path, value)
    if key == "compute_mode":
        if isinstance(value, str) and value in MODES:
            return value
        raise WishError(path, f"is {described(value)}", nearest(value, MODES) or f"choose one of {', '.join(MODES)}")
    values = [scalars.decimal(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
    if not values or not all(scalars.is_whole(each) and 0 < each <= MOST for each in values):
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
