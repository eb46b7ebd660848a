# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lock that a run holds on a host while it changes it.

A small file: the run's id in its first line, its holder in the second. It is in /run, so that a reboot clears it. It
expires when its time stamp has not been renewed for a while, by the host's own clock: no two clocks need to agree.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..disk import folders, plain_files

FOLDER = "/run/tfserving-fleet"
LOCK = "run.lock"
GUARD = "run.guard"

# A dead controller's locks expire after this; a live one renews them ten times in that time.
LEASE_S = 600
RENEW_S = 60

# The keys that describe the holder, and the longest value accepted: anybody may have written the file.
SAYS = ("run", "who", "playbook", "since", "boot", "pid", "started")
SHOWN = 120
_SIZE = 4096
# A damaged lock may hold no id that could be given as fleet_break_lock=.
_RUN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def take(folder: str, holder: Mapping[str, Any], replace: str, write: bool) -> dict[str, Any]:
    """Return the other holder of the lock, or an empty dictionary if the lock is now the caller's.

    ``replace`` is the id of a run that is known to be dead. Nothing is taken unless ``write``.
    """
    if not write:
        return _other(folder, holder["run"], replace)
    folders.make(folder, 0o700)
    with _guarded(folder):
        other = _other(folder, holder["run"], replace)
        if not other:
            _put(folder, holder)
        return other


def _other(folder: str, run: str, replace: str) -> dict[str, Any]:
    found = read(folder)
    if not found or found["lapses_in_s"] <= 0 or found["run"] in {run, replace or run}:
        return {}
    return found


def read(folder: str) -> dict[str, Any]:
    """Return what the lock says of its holder, or an empty dictionary if there is no lock or it names no holder."""
    path = os.path.join(folder, LOCK)
    try:
        age = time.time() - os.stat(path).st_mtime
        run, _line, said = plain_files.beginning(path, _SIZE).decode("utf-8", "replace").partition("\n")
    except FileNotFoundError:
        return {}
    try:
        holder = json.loads(said)
    except (ValueError, RecursionError):
        holder = {}
    holder = holder if isinstance(holder, dict) else {}
    shown = {name: _plain(holder.get(name, "")) for name in SAYS}
    # A clock that was set back must not make a lock last forever.
    return {**shown, "run": _plain(run), "lapses_in_s": int(LEASE_S - abs(age))}


def _plain(text: Any) -> str:
    return "".join(letter for letter in str(text)[:SHOWN] if letter.isprintable())


@contextlib.contextmanager
def _guarded(folder: str) -> Iterator[None]:
    handle = os.open(os.path.join(folder, GUARD), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put(folder: str, holder: Mapping[str, Any]) -> None:
    staged = os.path.join(folder, LOCK + ".new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(staged)
    with open(staged, "x", encoding="utf-8") as file:
        file.write(_text(holder))
    os.rename(staged, os.path.join(folder, LOCK))


def _text(holder: Mapping[str, Any]) -> str:
    return f"{holder['run']}\n{json.dumps(dict(holder), sort_keys=True)}\n"


def release_command(folder: str, run: str) -> str:
    """Return the shell command that releases the lock of ``run``, and no other."""
    return _command(folder, f'if [ "$(head -n 1 {LOCK})" = {run} ]; then rm -f {LOCK}; fi')


def renew_command(folder: str, holder: Mapping[str, Any]) -> str:
    """Return the shell command that renews the lock of a run, or takes it again if a boot has cleared it."""
    again = f"printf %s {shlex.quote(_text(holder))} > {LOCK}.new && mv {LOCK}.new {LOCK}"
    mine = f'[ "$(head -n 1 {LOCK})" = {holder["run"]} ]'
    return _command(folder, f"if [ ! -e {LOCK} ]; then {again}; elif {mine}; then touch {LOCK}; fi")


def _command(folder: str, script: str) -> str:
    """Wrap a script so that it has ``folder`` to itself; flock(1) of util-linux is on every Debian."""
    made = f"mkdir -p -m 0700 {shlex.quote(folder)} && cd {shlex.quote(folder)}"
    return f"{made} && flock {GUARD} sh -c {shlex.quote(script)} 2>/dev/null"


def refusal(host: str, holder: Mapping[str, Any]) -> str:
    """Return the sentence that refuses a run on a host that ``holder`` is changing."""
    minutes = max(1, -(-int(holder["lapses_in_s"]) // 60))
    who, playbook = holder["who"] or "somebody", holder["playbook"] or "a playbook"
    held = f"{who} is changing this host ({playbook}, since {holder['since'] or 'an unknown time'})"
    named = _RUN.fullmatch(holder["run"])
    breaking = f"add -e fleet_break_lock={holder['run']}" if named else f"remove {FOLDER}/{LOCK} on that host"
    cure = f"if it is known to be dead, wait {minutes} min or {breaking}"
    return f"{host}: {held}; wait until that run has ended, or, {cure}"
