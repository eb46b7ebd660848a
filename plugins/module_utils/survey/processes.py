# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The servers among a host's processes, in whatever container or below whatever wrapper they run."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .. import cpu_list
from ..diagnosis import groups as diagnosis_groups
from ..diagnosis import units as diagnosis_units
from ..errors import WishError
from ..evidence import groups
from ..evidence import process as evidence_process
from ..host import process as process_facts
from ..host.sysfs import Tree
from ..visible_text import told
from . import secrets
from .inside import Inside

SERVER = "tensorflow_model_server"
# The kernel keeps 15 letters of a process's name (TASK_COMM_LEN).
_COMM = SERVER[:15]
MOST_PIDS = 65536
MOST_SERVERS = 64
MOST_WORDS = 400
_MOST_BYTES = 1 << 20
_HEAD_BYTES = 4096
# Interpreters, loaders and emulators take some words of their own before the program.
_MOST_BEFORE = 8
_DEEPEST = 64
# v1 has no limit where it shows the largest multiple of a page.
_UNLIMITED = 1 << 60
_MIB = 1 << 20


class GoneError(WishError):
    """A process that ended while it was read."""

    def __init__(self, pid: int) -> None:
        super().__init__("", f"the process {pid} ended while it was read", "")


class Server(NamedTuple):
    """A server's process, its words as they are: nothing of this leaves the host before secrets are taken out."""

    pid: int
    started: int
    argv: tuple[str, ...]

    @property
    def shown(self) -> list[str]:
        """Return the command line without secrets, which begins with the server."""
        return secrets.words(server_words(self.argv), MOST_WORDS)


def digest(argv: Sequence[str]) -> str:
    """Return the SHA-256 by which a command line is known again: of its words without secrets, joined by NULs."""
    return hashlib.sha256("\0".join(argv).encode("utf-8", "surrogatepass")).hexdigest()


def servers(tree: Tree) -> list[Server]:
    """Return the processes that serve."""
    every = tree.numbered("proc", "")[:MOST_PIDS]
    found = [pid for pid in every if _is_named(tree, pid)]
    above = {each for pid in found for each in ancestors(tree, pid)}
    # A script of the server's name that has started one. The server itself may be about to start something else.
    wrappers = {pid for pid in found if pid in above and not _is_binary(tree, pid)}
    read = (server(tree, pid) for pid in found if pid not in wrappers)
    return [each for each in read if each][:MOST_SERVERS]


def server(tree: Tree, pid: int) -> Server | None:
    """Return a server's process; None if there is none any more."""
    stat = evidence_process.read(tree, pid)
    words = argv(tree, pid)
    return Server(pid, stat.started, tuple(words)) if stat and words else None


def is_server(word: str) -> bool:
    """Return whether a word of a command line names the server's program."""
    return os.path.basename(word).startswith(SERVER)


def argv(tree: Tree, pid: int) -> list[str]:
    """Return the words of a process's command line; none of a process that has ended, or of the kernel's own."""
    content = (tree.data(f"proc/{pid}/cmdline", _MOST_BYTES) or b"").decode("utf-8", "surrogateescape")
    # A program that has changed its title leaves NULs behind it.
    words = content.split("\0")[:-1] if content.endswith("\0") else content.split("\0")
    while words and not words[-1]:
        words.pop()
    return words[: MOST_WORDS + 1]


def server_words(words: Sequence[str]) -> list[str]:
    """Return a command line from the server on, without the interpreter or loader that runs it."""
    head = 0
    for place, word in enumerate(words[:_MOST_BEFORE]):
        if word.startswith("--"):
            break
        if is_server(word):
            head = place
    return list(words[head:])


def ancestors(tree: Tree, pid: int) -> Iterator[int]:
    """Yield the parent of a process, its parent and so on."""
    for _step in range(_DEEPEST):
        fields = (tree.text(f"proc/{pid}/stat") or "").rpartition(")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
        if not pid:
            return
        yield pid


def _is_named(tree: Tree, pid: int) -> bool:
    if (tree.text(f"proc/{pid}/comm") or "").startswith(_COMM) or _is_binary(tree, pid):
        return bool(tree.data(f"proc/{pid}/cmdline", 1))
    head = (tree.data(f"proc/{pid}/cmdline", _HEAD_BYTES) or b"").decode("utf-8", "replace")
    return is_server(head.partition("\0")[0])


def _is_binary(tree: Tree, pid: int) -> bool:
    return is_server(tree.link_name(f"proc/{pid}/exe") or "")


def read(tree: Tree, found: Server) -> dict[str, Any]:
    """Return what the kernel tells of a server. Raises GoneError."""
    pid, inside = found.pid, Inside(tree, found.pid)
    values, others = secrets.environment(environment(tree, pid))
    facts = process_facts.process(pid, Path(tree.path("proc")))
    row = {
        "pid": pid,
        "exe": told(_link(tree, pid, "exe").removesuffix(" (deleted)"), 4096),
        "argv": found.shown,
        "argv_sha256": digest(found.shown),
        "environment": values,
        "other_environment": others,
        "cwd": told(inside.cwd, 4096),
        "user": _user(tree, pid),
        "root": told(inside.shown_root, 4096),
        "started": started(tree, found.started),
        "threads": facts.threads if facts else 0,
        "rss_mb": facts.rss_mb if facts else 0,
        "allocator": facts.allocator if facts else "unknown",
        "cpus_allowed": facts.cpus if facts else "",
        "cgroup": cgroup(tree, pid),
        "limits": {name: soft for name, (soft, _hard) in diagnosis_units.limits(tree, pid).items()},
    }
    if not is_same(tree, found):
        raise GoneError(pid)
    return row


def is_same(tree: Tree, found: Server) -> bool:
    """Return whether a process still runs: its id may be another's, and its parent may not ask for its end."""
    now = evidence_process.read(tree, found.pid)
    state = (tree.text(f"proc/{found.pid}/stat") or "").rpartition(")")[2].split()[:1]
    return now is not None and now.started == found.started and state not in (["Z"], ["X"])


def environment(tree: Tree, pid: int) -> list[str]:
    """Return the variables of a process as it was started, values and all."""
    content = (tree.data(f"proc/{pid}/environ", _MOST_BYTES) or b"").decode("utf-8", "surrogateescape")
    return [pair for pair in content.split("\0") if "=" in pair]


def started(tree: Tree, ticks: int) -> float:
    """Return when a process began in UNIX seconds."""
    booted = re.search(r"^btime (\d+)$", tree.text("proc/stat") or "", re.MULTILINE)
    return round((int(booted[1]) if booted else 0) + ticks / os.sysconf("SC_CLK_TCK"), 2)


def cgroup(tree: Tree, pid: int) -> dict[str, Any]:
    """Return a process's group and the limits that it, or the strictest above it, has."""
    found = groups.of_process(tree, pid)
    return {
        "path": told(group_path(tree, pid), 1000),
        "cpu_max": next(filter(None, (_cpu_max(tree, each) for each in _upwards(found.cpu))), None),
        "memory_max_mb": min(_memory(tree, pid, found.unified), default=None),
        "cpuset": _cpuset(tree, pid, found.unified),
    }


def group_path(tree: Tree, pid: int) -> str:
    """Return the deepest path of a process's groups, from the group of the host on: it may be a container itself."""
    path = max(_group_paths(tree, pid), key=lambda each: (each.count("/"), len(each)), default="")
    for above in sorted({each.removesuffix("/init.scope") for each in _group_paths(tree, 1)}, key=len, reverse=True):
        if above not in ("", "/") and _is_below(path, above):
            return path.removeprefix(above) or "/"
    return path


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}/")


def _group_paths(tree: Tree, pid: int) -> list[str]:
    return [line.split(":", 2)[2] for line in tree.lines(f"proc/{pid}/cgroup") if line.count(":") >= 2]


def _cpu_max(tree: Tree, group: str) -> str | None:
    """Return quota and period in microseconds as v2 writes them; None without a quota."""
    text = tree.text(f"{group}/cpu.max")
    if text is None:
        quota, period = tree.number(f"{group}/cpu.cfs_quota_us"), tree.number(f"{group}/cpu.cfs_period_us")
        text = f"{quota} {period}" if quota and quota > 0 and period else "max"
    return None if text.startswith("max") else told(text, 60)


def _memory(tree: Tree, pid: int, unified: str | None) -> Iterator[int]:
    old = diagnosis_groups.group_v1(tree, pid, "memory")
    places = [f"{each}/memory.max" for each in _upwards(unified)]
    places += [f"{each}/memory.limit_in_bytes" for each in _upwards(old)]
    sizes = (tree.number(place) for place in places)
    return (size // _MIB for size in sizes if size is not None and size < _UNLIMITED)


def _cpuset(tree: Tree, pid: int, unified: str | None) -> str | None:
    old = diagnosis_groups.group_v1(tree, pid, "cpuset")
    places = [f"{each}/cpuset.cpus" for each in (unified, old) if each]
    return next((told(text, 200) for place in places if (text := tree.text(place))), None)


def _upwards(group: str | None) -> Iterator[str]:
    while group and group.count("/") > 1:
        yield group
        group = os.path.dirname(group)


def nofile(tree: Tree, pid: int) -> list[int]:
    """Return the soft and the hard limit of open files; nothing where there is none."""
    found = diagnosis_units.limits(tree, pid).get("nofile", [])
    return [] if None in found else [each for each in found if each is not None]


def cpus(text: str) -> set[int]:
    """Return the CPUs of a list in the kernel's notation. Raises ValueError."""
    return set(cpu_list.parse(text))


def _user(tree: Tree, pid: int) -> str:
    """Return who a process runs as, by the name that the host has for the number."""
    lines = dict(line.split(":", 1) for line in tree.lines(f"proc/{pid}/status") if ":" in line)
    number = (lines.get("Uid") or "").split()[:1]
    if not number:
        return ""
    with suppress(KeyError, ValueError):
        return pwd.getpwuid(int(number[0])).pw_name
    return number[0]


def _link(tree: Tree, pid: int, name: str) -> str:
    try:
        return os.readlink(tree.path(f"proc/{pid}/{name}"))
    except OSError:
        return ""


def by_pid(rows: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Return the UUIDs of GPUs by the process that uses them, of rows of nvidia-smi."""
    found: dict[int, list[str]] = {}
    for row in rows:
        if str(row.get("pid") or "").isdigit() and row.get("gpu_uuid"):
            found.setdefault(int(row["pid"]), []).append(told(str(row["gpu_uuid"]), 80))
    return {pid: sorted(set(uuids)) for pid, uuids in found.items()}
