# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The run of ansible-playbook on this controller: its identity, whether another is still alive, its cleanup at the end.

A run ends in many ways, and Ansible tells its plugins of few: not of an interrupt, nor of a host removed by another
host's failure, nor of a kill. So a small process watches the run's process and acts when it is gone.
"""

from __future__ import annotations

import gc
import getpass
import hashlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# Polling interval if the kernel cannot report the end of a process.
LOOK_S = 0.5
# The watching process keeps one file descriptor besides the three standard ones.
HEARD = 3


def this_run(pid: int, playbooks: Sequence[str]) -> dict[str, str]:
    """Return a lock's description of the run whose process is ``pid``."""
    life = {"boot": machine(), "pid": str(pid), "started": started(pid)}
    run = hashlib.sha256("/".join([socket.gethostname(), *life.values()]).encode()).hexdigest()[:12]
    who = f"{_user()}@{socket.gethostname()}"
    playbook = ", ".join(os.path.basename(each) for each in playbooks)
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"run": run, "who": who, "playbook": playbook, "since": since, **life}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def machine() -> str:
    """Return an id of this boot of this machine and of this namespace of process ids."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux: nobody can tell here whether a process is alive, so its lock has to expire
        return ""


def started(pid: int) -> str:
    """Return when a living process started, in kernel ticks; empty if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def is_dead(holder: dict[str, Any]) -> bool:
    """Return whether the holder of a lock is known to have ended: a process of this machine that is gone."""
    here = machine()
    if not here or holder["boot"] != here or not holder["pid"].isdecimal():
        return False
    return bool(started(int(holder["pid"])) != holder["started"])


def watch(
    pids: Sequence[int], renew: Callable[[], Any], release: Callable[[], Any], every_s: float
) -> Callable[[], None]:
    """Start a process that calls ``release`` once all of ``pids`` have ended, and ``renew`` periodically until then.

    Call this before there is anything to release, or a kill in between would leave it behind. The process renews only
    after the returned function has been called.
    """
    heard, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            # Fork twice, so that the process has no parent, in a session of its own, so that no interrupt reaches it.
            os.setsid()
            if not os.fork():
                _let_go(heard)
                _wait(pids, renew, every_s)
                release()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(heard)
    return lambda: _tell(tell)


def _tell(handle: int) -> None:
    os.write(handle, b"1")
    os.close(handle)


def _let_go(heard: int) -> None:
    """Close all of the run's files but one: a reader of its output waits until the last process has closed it."""
    gc.freeze()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.dup2(heard, HEARD)
    null = os.open(os.devnull, os.O_RDWR)
    for handle in range(HEARD):
        os.dup2(null, handle)
    os.closerange(HEARD + 1, os.sysconf("SC_OPEN_MAX"))
    os.set_blocking(HEARD, False)


def _wait(pids: Sequence[int], renew: Callable[[], Any], every_s: float) -> None:
    taken = False
    for ended in [_end_of(pid) for pid in pids]:
        while not ended(every_s):
            taken = taken or _heard()
            if taken:
                renew()


def _heard() -> bool:
    try:
        return os.read(HEARD, 1) == b"1"
    except BlockingIOError:
        return False


def _end_of(pid: int) -> Callable[[float], bool]:
    """Return a function that waits for the end of a process, with a timeout, and tells whether it has ended."""
    born = started(pid)
    try:
        poll = select.poll()
        poll.register(os.pidfd_open(pid), select.POLLIN)
    except (AttributeError, OSError):
        return lambda seconds: _looked(pid, born, seconds)
    return lambda seconds: bool(poll.poll(seconds * 1000))


def _looked(pid: int, born: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not _lives(pid) or started(pid) != born:
            return True
        time.sleep(LOOK_S)
    return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
