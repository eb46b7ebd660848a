# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The workers of a run that measure together, one for each host that takes part.

Ansible runs a task in a process for each host, all at the same time, and lets them exchange nothing. They are all on
the controller, though, so they meet in a folder there: the first one conducts, the others carry out its orders. They
do so until it dismisses them or its process is gone, also where ansible-playbook has ended meanwhile: its last orders
are those that put everything back.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

# How often a worker looks for what it waits for: short beside the seconds of a stage.
LOOK_S = 0.05
# What a worker may take longer than its stage: Ansible's own start on a slow controller with many hosts.
PATIENCE_S = 120.0
END = "end"
# The file that the conductor keeps locked.
BATON = "baton"


class Crew:
    """The workers of one task. ``me`` and ``members`` are names of inventory hosts; the first member conducts.

    The conductor waits for nobody once ``is_left`` says that the run they belong to has ended.
    """

    def __init__(
        self,
        folder: Path,
        me: str,
        members: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        is_left: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder, self.me, self.members = folder, me, list(members)
        self._clock, self._sleep, self.is_left = clock, sleep, is_left
        self._sent = dict.fromkeys(self.members, 0)
        # Held as long as this process lives, however it ends.
        self._baton = self._take_baton() if self.conducts else None

    @property
    def conducts(self) -> bool:
        """Whether this worker gives the orders."""
        return self.me == self.members[0]

    def order(self, orders: Mapping[str, Any]) -> None:
        """Give some of the others their orders, by name."""
        for name, order in orders.items():
            self._sent[name] += 1
            self._write(self._path(name, "order"), order)

    def answers(self, names: Iterable[str], within_s: float) -> list[Any]:
        """Return what these workers answer to their last orders; raise WishError if one does not in time."""
        return [self._answer(name, within_s) for name in names]

    def answered(self, names: Iterable[str]) -> list[Any]:
        """Return the answers to the last orders that have come already."""
        paths = [self._path(name, "answer") for name in names]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]

    def is_overtaken(self) -> bool:
        """Return whether the conductor has given another order, and waits for no answer to the present one."""
        return (self.folder / f"{self.members.index(self.me)}.{self._sent[self.me] + 1}.order").exists()

    def dismiss(self) -> None:
        """Send the others home."""
        self.order(dict.fromkeys(self.members[1:], END))

    def orders(self, within_s: float) -> Iterator[Any]:
        """Yield the conductor's orders until the last one; answer each with ``answer``."""
        while True:
            self._sent[self.me] += 1
            order = self._await(self._path(self.me, "order"), within_s, self._is_deserted)
            if order is None or order == END:
                return
            yield order

    def answer(self, answer: Any) -> None:
        """Answer the present order."""
        self._write(self._path(self.me, "answer"), answer)

    def _answer(self, name: str, within_s: float) -> Any:
        found = self._await(self._path(name, "answer"), within_s, self.is_left)
        if found is None:
            problem = f"{name} has not answered within {within_s:.0f} s"
            raise WishError("tfserving_load", problem, "look at its messages above")
        return found

    def _path(self, name: str, what: str) -> Path:
        return self.folder / f"{self.members.index(name)}.{self._sent[name]}.{what}"

    def _await(self, path: Path, within_s: float, is_vain: Callable[[], bool]) -> Any:
        until = self._clock() + within_s
        while not path.exists():
            if self._clock() > until or is_vain():
                break
            self._sleep(LOOK_S)
        # Once more: the last order may have come just before its sender went.
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _take_baton(self) -> IO[bytes]:
        staged = self.folder / f"{BATON}.new"
        baton = staged.open("wb")
        fcntl.flock(baton, fcntl.LOCK_EX)
        os.replace(staged, self.folder / BATON)
        return baton

    def _is_deserted(self) -> bool:
        """Return whether the process of the conductor is gone; before it has come, whether the run has ended."""
        try:
            with (self.folder / BATON).open("rb") as baton:
                fcntl.flock(baton, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except FileNotFoundError:
            return self.is_left()
        return True

    def _write(self, path: Path, content: Any) -> None:
        handle, staged = tempfile.mkstemp(dir=self.folder)
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        os.replace(staged, path)


def require_forks(members: Sequence[str], forks: int) -> None:
    """Refuse more load hosts than Ansible runs at the same time: those behind would never meet the others."""
    if len(members) > forks:
        raise WishError(
            "forks",
            f"is {forks}, and the {len(members)} hosts of tfserving_load have to run at the same time",
            f"run with --forks {len(members)}",
        )
