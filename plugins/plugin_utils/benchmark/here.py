# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an action gives a measurement: its crew, and the load host that it runs for."""

from __future__ import annotations

import os
import shlex
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812 - the name it has everywhere in Ansible
from ansible import context
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..action import Action
from . import runner, team
from .crew import Crew, require_forks
from .options import LONGEST_S

# Ctrl-C, and what Ansible ends workers with that have not ended half a second later.
ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def crew(action: Action, me: str, members: Sequence[str]) -> Iterator[Crew]:
    """Yield the crew of a task, which meets in a folder of this run of ansible-playbook; the first member conducts.

    However the conductor ends, the others are dismissed: they would wait for its orders.
    """
    require_forks(members, context.CLIARGS["forks"])
    folder = Path(C.DEFAULT_LOCAL_TMP) / f"crew-{action._task._uuid}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with _heeded() as is_left:
        together = Crew(folder, me, members, is_left=is_left)
        try:
            yield together
        finally:
            if together.conducts:
                together.dismiss()
            if is_left():
                # Nobody reads results any more. Ansible would put that of this task into a pipe that this process
                # itself keeps open, and wait for ever once it is full.
                os._exit(1)


@contextmanager
def _heeded() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether the run has ended: by a signal, or because ansible-playbook is gone.

    Ansible passes ctrl-C on to its workers, and its own handler there ends them on the spot, without their way back.
    It waits for them before it ends itself.
    """
    came: list[int] = []
    is_orphaned = orphaned()
    usual = {each: signal.signal(each, lambda number, _frame: came.append(number)) for each in ENDING}
    try:
        yield lambda: bool(came) or is_orphaned()
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)


def orphaned() -> Callable[[], bool]:
    """Return what tells whether ansible-playbook has ended; its workers outlive it when it is killed."""
    parent = os.getppid()
    return lambda: os.getppid() != parent


@contextmanager
def place(
    action: Action, name: str, generator: Mapping[str, str], is_left: Callable[[], bool]
) -> Iterator[runner.Place]:
    """Yield the load host of an action with a directory of its own there, which is removed again with all load.

    Its first command fails once ``is_left`` says that the run has ended.
    """
    here = opened(action, name, generator, is_left)
    try:
        yield here
    finally:
        closed(here)


def opened(
    action: Action,
    name: str,
    generator: Mapping[str, str],
    is_left: Callable[[], bool] = lambda: False,
    folder: str | None = None,
) -> runner.Place:
    """Return the load host of an action with a directory there: a new one, or that of an earlier task of the run."""
    chosen = folder or f"{generator['folder']}/run-{os.getppid()}-{uuid.uuid4().hex[:8]}"
    stopped: list[bool] = []

    def run(command: str) -> runner.Answer:
        if is_left() and not stopped:
            # Once: what cleans up afterwards runs commands as well.
            stopped.append(True)
            raise WishError("", "the run of ansible-playbook has ended", "")
        found: Mapping[str, Any] = action._low_level_execute_command(command)
        return runner.Answer(found["rc"], found["stdout"], found["stderr"])

    def put(path: str, text: str) -> None:
        action._transfer_data(path, text)

    here = runner.Place(name, run, put, generator["python"], generator["program"], chosen)
    if folder:
        return here
    # What runs have left that were killed: no run lasts longer than a day.
    old = f"find {shlex.quote(generator['folder'])} -mindepth 1 -maxdepth 1 -name 'run-*' -mtime +1 -exec rm -rf {{}} +"
    run(f"{old}; mkdir -m 0700 {shlex.quote(chosen)}")
    return here


def closed(here: runner.Place) -> None:
    """End all load of a load host's directory, and remove it."""
    runner.interrupt(here)
    here.run(f"rm -rf {shlex.quote(here.folder)}")


def follow(crew: Crew, here: runner.Place) -> dict[str, Any]:
    """Carry out the orders of the conductor on another load host."""
    team.follow(crew, here, LONGEST_S)
    return {}
