# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The releases in use on a host, and those that may be removed. Reads /proc only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .store import TREE, Store
from .tree import inside

PROC = "/proc"


def surplus(newest_first: Iterable[str], keep: int, in_use: Iterable[str]) -> list[str]:
    """Return the releases beyond the ``keep`` newest that are not in use."""
    protected = set(in_use)
    return [name for name in list(newest_first)[keep:] if name not in protected]


class Place(NamedTuple):
    """The place of a release: its real path, and the files that identify processes running from it."""

    prefixes: tuple[str, ...]
    tree: str
    binary: str


def reasons_to_stay(store: Store, releases: Iterable[str], proc: str = PROC) -> dict[str, str]:
    """Return what holds each of the releases in use."""
    places = {name: _place(store, name) for name in releases}
    reasons = {name: f"{point} is mounted" for name in places for point in _mounts(store.path(name), proc)}
    for pid in _pids(proc) if places else ():
        for name, place in places.items():
            if name not in reasons and _runs_from(place, os.path.join(proc, pid)):
                reasons[name] = f"process {pid} runs from it"
    return reasons


def _place(store: Store, name: str) -> Place:
    path = os.path.realpath(store.path(name))
    tree = os.path.join(path, TREE)
    return Place((f"{path}/", f"{store.path(name)}/"), tree, _binary(tree, store.record(name)))


def _runs_from(place: Place, process: str) -> bool:
    # By file, not by name: inside a mount namespace of its own (systemd's RootDirectory) the links of /proc say "/".
    if _same_file(os.path.join(process, "root"), place.tree) or _same_file(os.path.join(process, "exe"), place.binary):
        return True
    # A script runs as its interpreter, with the script's path among the arguments.
    named = [_link(os.path.join(process, "exe")), *_arguments(process)]
    return any(text.startswith(place.prefixes) for text in named)


def _binary(tree: str, record: Mapping[str, Any]) -> str:
    binary = record.get("binary", "")
    return inside(tree, binary) if record.get("chroot") else binary


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _arguments(process: str) -> list[str]:
    try:
        with open(os.path.join(process, "cmdline"), "rb") as file:
            return os.fsdecode(file.read()).split("\0")
    except OSError:
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _pids(proc: str) -> list[str]:
    return sorted((name for name in os.listdir(proc) if name.isdigit()), key=int)


def _mounts(path: str, proc: str) -> Iterator[str]:
    """Yield the mounts at or below a path: deleting the tree would continue into them."""
    real = os.path.realpath(path)
    try:
        with open(os.path.join(proc, "self", "mountinfo"), encoding="utf-8", errors="surrogateescape") as file:
            points = [line.split()[4] for line in file]
    except OSError:
        return
    for point in points:
        # Blanks and backslashes are octal escapes (proc_pid_mountinfo(5)).
        name = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        if name == real or name.startswith(f"{real}/"):
            yield name
