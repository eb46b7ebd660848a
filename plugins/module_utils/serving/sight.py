# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks that a unit's process could open its files if it started now, without starting one.

A server that picks up a changed file while running keeps what it has opened, whatever becomes of the path. Only its
next start would tell, on the day of a reboot. So a child process of ours looks in its place: through the running
process's own root (/proc/PID/root leads into its mounts) and with its user and groups.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..host.process import PROC
from ..visible_text import visible

# A model has dozens of files; a larger tree is checked in part rather than for minutes.
MOST_FILES = 20_000
# A local file opens at once. A network file system that hangs must not hang the run.
PATIENCE_S = 30
# The longest path; a pipe holds more than this at once.
MOST_SAID = 4096
NOTHING = b"."


def unseen(pid: int, files: Iterable[str], folders: Iterable[str], proc: Path = PROC) -> str:
    """Return the first path that ``pid`` could not read if it started now, with the reason, or an empty text.

    ``folders`` are read with everything below them. A process that has ended has no problem.
    """
    home = proc / str(pid)
    try:
        account = _account((home / "status").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # Whatever happens, this forked copy of the module must never return into it.
        try:
            os.close(reader)
            signal.alarm(PATIENCE_S)
            found = _looked(str(home / "root"), account, list(files), list(folders)) or os.fsdecode(NOTHING)
            # Not as JSON: text stays text when it is cut.
            os.write(writer, os.fsencode(found)[:MOST_SAID])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        return f"its files could not be looked at within {PATIENCE_S} s"
    return "" if said == NOTHING else visible(os.fsdecode(said))


def _account(status: str) -> tuple[int, int, list[int]]:
    """Return user, group and further groups that the kernel uses for files (the last of the four numbers)."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines["Uid"].split()[3]), int(lines["Gid"].split()[3]), [int(one) for one in lines["Groups"].split()]


def _looked(root: str, account: tuple[int, int, list[int]], files: list[str], folders: list[str]) -> str:
    user, group, groups = account
    if os.geteuid() == 0:
        try:
            os.chroot(root)
        except OSError:  # it has ended meanwhile
            return ""
        os.chdir("/")
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(user)
    try:
        for count, path in enumerate(_all(files, folders)):
            if count == MOST_FILES:
                break
            # Non-blocking, in case it is a pipe without a writer.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return f"{error.filename} ({error.strerror})"
    return ""


def _all(files: list[str], folders: list[str]) -> Iterator[str]:
    yield from files
    for top in folders:
        yield top
        for folder, _folders, names in os.walk(top, onerror=_raised, followlinks=True):
            yield from (os.path.join(folder, name) for name in names)


def _raised(error: OSError) -> None:
    raise error
