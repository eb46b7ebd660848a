# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The allocator that each process really has: the loader goes on without a library that it cannot preload."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .host import Host, Mark
from .sample import Samples, sample

# The mappings of a process with thousands of threads; libraries are mapped first of all and stand near the end.
_MOST_BYTES = 16 << 20
_PRELOADED = re.compile(rb"/lib(jemalloc|tcmalloc|mimalloc)[^/\n]*\.so")
_LIBC = re.compile(rb"/libc[.-][^/\n]*so")
_KEPT = {str: {"pid": int, "ticks": int, "mapped": str}}
KNOWN = ("jemalloc", "tcmalloc", "mimalloc")
DEFAULT = "glibc"


def read(host: Host) -> Samples:
    """Yield the samples."""
    before = host.state.section("allocator", _KEPT)
    kept: dict[str, Any] = {}
    for instance in host.instances:
        name = instance["name"]
        process = host.process(name)
        mapped = _mapped(host, process, before.get(name, {})) if process else ""
        if process and mapped:
            kept[name] = {"pid": process.pid, "ticks": process.ticks, "mapped": mapped}
            wanted = planned(instance["environment"])
            yield sample("instance_allocator_info", 1, serving_instance=name, mapped=mapped, planned=wanted)
            yield sample("instance_allocator_matches_plan", mapped == wanted, serving_instance=name)
    host.state.keep("allocator", kept)


def _mapped(host: Host, process: Mark, before: Mapping[str, Any]) -> str:
    """Return the mapped allocator, empty where nothing tells. It stays for the life of a process: one look does.

    The kernel holds up the process while it lists thousands of mappings.
    """
    if (before.get("pid"), before.get("ticks")) == process:
        return str(before["mapped"])
    maps = host.tree.data(f"proc/{process.pid}/maps", _MOST_BYTES) or b""
    found = _PRELOADED.search(maps)
    if found:
        return found[1].decode()
    return DEFAULT if _LIBC.search(maps) else ""


def planned(environment: Mapping[str, str]) -> str:
    """Return the allocator that the plan preloads; LD_PRELOAD has blanks or colons between libraries."""
    names = [path.rpartition("/")[2] for path in environment.get("LD_PRELOAD", "").replace(":", " ").split()]
    return next((known for known in KNOWN for name in names if name.startswith(f"lib{known}")), DEFAULT)
