# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the memory of a host holds a version beside what its servers have loaded, judged before it is loaded.

Both versions of a model are in one process. No limit of that process protects the one in force: the kernel would kill
it together with the one that is too large. So what does not fit must not be loaded at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ..disk.space import MIB
from ..errors import RefusalError, WishError
from ..golden import warmup
from ..host import memory
from ..serving import client
from .store import Store, listing

# The server's own estimate of a loaded model, in proportion to its files; see the policy's memory.model_factor.
FACTOR = 1.2

# The process of an instance by its name, 0 for none.
Pid = Callable[[str], int]


@dataclass(frozen=True)
class Need:
    """The memory that an instance needs for versions of a model that it has not loaded, in MiB."""

    instance: str
    versions: tuple[int, ...]
    mb: int
    left_mb: float | None
    """What its limit leaves it; None where that is not known."""
    max_mb: int | None


def needs(
    store: Store, model: Mapping[str, Any], instances: Iterable[Mapping[str, Any]], pid: Pid, proc: str
) -> list[Need]:
    """Return what each instance needs that serves a model and has not loaded all of its versions.

    ``model`` and ``instances`` are entries of the plan that is to be put in force. Raises WishError.
    """
    found = []
    for each in instances:
        if model["name"] in each["models"]:
            loaded = client.live_versions(each["ports"]["rest"], model["name"]) or set()
            coming = tuple(sorted(set(model["serve"]["versions"]) - loaded))
            size_mb = sum(_size_mb(store, model, version) for version in coming)
            used, most = memory.read(proc, pid(each["name"]))["rss_mb"], (each.get("memory") or {}).get("max_mb")
            left = None if used is None or most is None else most - used
            found.append(Need(each["name"], coming, math.ceil(FACTOR * size_mb), left, most))
    return [need for need in found if need.mb]


def _size_mb(store: Store, model: Mapping[str, Any], version: int) -> float:
    """Return the size of a version: what the wish says or its files, whichever is more. Records are not kept loaded."""
    try:
        files = listing(store.place(model["name"], version)).files
    except RefusalError as error:
        raise WishError(f"{model['path']}.version", f"version {version} {error.problem}", error.remedy) from None
    size = sum(size for path, size in files.items() if path != warmup.FILE)
    return max(model.get("memory_mb") or 0, size / MIB)


def check(model: Mapping[str, Any], found: Iterable[Need], available_mb: float | None) -> None:
    """Raise WishError, one sentence, if the memory of the host or a limit does not hold what is to be loaded."""
    wanted = list(found)
    for need in wanted:
        if need.left_mb is not None and need.mb > need.left_mb:
            raise _refusal(
                model,
                need,
                f"of which the limit of instance {need.instance} leaves {need.left_mb:.0f} (memory.max_mb is"
                f" {need.max_mb})",
                f"set {model['path']}.memory_mb to what a version takes, from which the limit follows, or serve fewer"
                " models there",
            )
    total = sum(need.mb for need in wanted)
    if available_mb is not None and total > available_mb:
        whole = Need("", tuple(sorted({version for need in wanted for version in need.versions})), total, None, None)
        words = f"and this host has {available_mb:.0f} available"
        raise _refusal(model, whole, words, "free memory on it, or move models or the instance to another host")


def _refusal(model: Mapping[str, Any], need: Need, words: str, remedy: str) -> WishError:
    versions = " and ".join(map(str, need.versions))
    problem = (
        f"{versions} of {model['name']} cannot be loaded beside what is in memory: it takes about {need.mb} MB"
        f" ({FACTOR} times its size), {words}"
    )
    return WishError(f"{model['path']}.version", problem, f"{remedy}; nothing was loaded")
