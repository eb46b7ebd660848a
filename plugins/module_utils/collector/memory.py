# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Resident memory of each instance, and by how much it has grown over a load of other versions.

A load may take several runs: the new version comes, the old one goes, the allocator gives pages back. So the figure
before is that of the last run with the old versions, the one after is taken once two runs in a row have seen the same
versions and none on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from . import sizes
from .host import Host, Mark
from .instances import kib
from .sample import Samples, known
from .served import AVAILABLE, States, states

# An allocator keeps a few per cent of what was freed; a leak comes back with each load (docs/signals.md).
LEFT_OVER = 0.05
# States that end by themselves.
_ON_THEIR_WAY = ("START", "LOADING", "UNLOADING")

_NUMBER = (int, float)
_KEPT = {
    str: {
        "pid": int,
        "ticks": int,
        "versions": [str],
        "resident": _NUMBER,
        "loads": int,
        "steps": int,
        "growth": lambda value: value is None or plain_files.fits(value, _NUMBER),
        "before": lambda value: value is None or plain_files.fits(value, {"versions": [str], "resident": _NUMBER}),
    }
}


def read(host: Host) -> Samples:
    """Yield the samples."""
    before = host.state.section("memory", _KEPT)
    kept: dict[str, Any] = {}
    for instance in host.instances:
        name = instance["name"]
        process = host.process(name)
        resident = kib(host.status(process.pid).get("VmRSS")) if process else None
        if process is None or resident is None:
            continue
        yield from known({"instance_resident_bytes": resident}, serving_instance=name)
        kept[name] = after(_of(before.get(name), process), resident, states(host).get(name), sizes.of(host))
        yield from known(_loads(kept[name]), serving_instance=name)
    host.state.keep("memory", kept)


def _of(kept: Mapping[str, Any] | None, process: Mark) -> dict[str, Any]:
    """Return what is known of a process; another one begins anew."""
    if kept and (kept["pid"], kept["ticks"]) == process:
        return dict(kept)
    begin = {"versions": [], "resident": 0, "loads": 0, "steps": 0, "growth": None, "before": None}
    return {"pid": process.pid, "ticks": process.ticks, **begin}


def _loads(kept: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        "instance_loads_total": kept["loads"],
        "instance_load_growth_bytes": kept["growth"],
        "instance_load_growth_steps": kept["steps"],
    }


def after(
    kept: Mapping[str, Any], resident: int, found: States | None, bytes_of: Mapping[str, int]
) -> dict[str, Any]:  # fmt: skip
    """Return what is known after one more look: the resident memory, and the states of the versions (None: untold)."""
    if found is None:
        return dict(kept)
    served = sorted(f"{model}/{version}" for (model, version), state in found.items() if state == AVAILABLE)
    is_quiet = not any(state in _ON_THEIR_WAY for state in found.values())
    # What a load takes for a while must not become the figure before it.
    now = {**kept, "versions": served, "resident": resident if is_quiet else kept["resident"]}
    if not kept["versions"]:
        return now  # the first load of a process, against which the later ones are held
    if served != kept["versions"] and kept["before"] is None:
        now["before"] = {"versions": kept["versions"], "resident": kept["resident"]}
    elif is_quiet and served == kept["versions"] and kept["before"] is not None:
        now.update(_measured(kept, resident, bytes_of))
    return now


def _measured(kept: Mapping[str, Any], resident: int, bytes_of: Mapping[str, int]) -> dict[str, Any]:
    """Return what a load has left; one that changed nothing in the end is none."""
    before = kept["before"]
    if before["versions"] == kept["versions"]:
        return {"before": None}
    growth = resident - before["resident"]
    old, new = (_sum(versions, bytes_of) for versions in (before["versions"], kept["versions"]))
    measured = {"before": None, "loads": kept["loads"] + 1, "growth": growth}
    if old is None or new is None:
        return measured
    leaves = growth - max(0, new - old) > LEFT_OVER * new
    return {**measured, "steps": kept["steps"] + 1 if leaves else 0}


def _sum(versions: list[str], bytes_of: Mapping[str, int]) -> int | None:
    """Return the size of versions together; None if one is not known, such as of one that is no longer on disk."""
    found = [bytes_of.get(version) for version in versions]
    return None if None in found else sum(size for size in found if size is not None)
