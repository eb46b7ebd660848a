# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A slice's side: whether this run of ansible-playbook is one, and how it talks to its runner."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..fleet import run_holder
from . import wire

# Where a slice finds its runner. No variable of Ansible's: what is in an inventory or behind -e cannot name a socket.
ENVIRONMENT = "TFSERVING_FLEET_SLICE"
# In the folder of the run.
SOCKET = "socket"


@dataclass(frozen=True)
class Member:
    """One slice of a run, or a part of the run that is not sliced, with number 0."""

    number: int
    runner: int
    started: str
    folder: str
    lifeline: int
    """File that ends when the runner does."""

    def environment(self) -> dict[str, str]:
        """Return what the processes of the slice are given."""
        return {ENVIRONMENT: json.dumps(asdict(self))}

    def connect(self) -> socket.socket:
        """Return a connection to the runner, which knows by now who speaks."""
        try:
            to = socket.socket(socket.AF_UNIX)
            to.connect(os.path.join(self.folder, SOCKET))
            to.sendall(wire.packed({"slice": self.number}))
        except OSError as error:
            raise _gone(error) from error
        return to

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the runner's answer, however long it takes. Raises WishError for a refusal, or without a runner."""
        with self.connect() as to:
            try:
                to.sendall(wire.packed(message))
                answer = _answer(to)
            except (OSError, ValueError) as error:
                raise _gone(error) from error
        if answer.get("refused"):
            raise WishError("", str(answer["refused"]), "")
        return answer


def _answer(to: socket.socket) -> dict[str, Any]:
    lines = wire.Lines()
    while data := to.recv(1 << 16):
        for message in lines.take(data):
            return message
    raise OSError("it has closed the connection")


def _gone(error: Exception) -> WishError:
    return WishError("tfserving-fleet", f"the runner of this slice does not answer ({error})", "run it again")


def member(pid: int) -> Member | None:
    """Return the slice that the ansible-playbook with this process id runs; None for a run of its own.

    Only a child of the runner is one: a shell that somebody has opened from a slice inherits its environment as well.
    """
    try:
        found = Member(**json.loads(os.environ.get(ENVIRONMENT, "")))
    except (ValueError, TypeError):
        return None
    lives = run_holder.started(found.runner) == found.started
    return found if lives and parent(pid) == found.runner else None


def parent(pid: int) -> int:
    """Return the process that has started another, 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
