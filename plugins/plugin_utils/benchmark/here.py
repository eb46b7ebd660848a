# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an action gives a measurement: its crew, and the load host that it runs for."""

from __future__ import annotations

import os
import shlex
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


@contextmanager
def crew(action: Action, me: str, members: Sequence[str]) -> Iterator[Crew]:
    """Yield the crew of a task, which meets in a folder of this run of ansible-playbook; the first member conducts.

    However the conductor ends, the others are dismissed: they would wait for its orders.
    """
    require_forks(members, context.CLIARGS["forks"])
    folder = Path(C.DEFAULT_LOCAL_TMP) / f"crew-{action._task._uuid}"
    folder.mkdir(mode=0o700, exist_ok=True)
    together = Crew(folder, me, members, is_left=orphaned())
    try:
        yield together
    finally:
        if together.conducts:
            together.dismiss()


def orphaned() -> Callable[[], bool]:
    """Return what tells whether ansible-playbook has ended; its workers outlive it when it is killed."""
    parent = os.getppid()
    return lambda: os.getppid() != parent


@contextmanager
def place(action: Action, name: str, generator: Mapping[str, str]) -> Iterator[runner.Place]:
    """Yield the load host of an action with a directory of its own there, which is removed again with all load."""
    folder = f"{generator['folder']}/run-{os.getppid()}-{uuid.uuid4().hex[:8]}"

    is_orphaned = orphaned()
    stopped: list[bool] = []

    def run(command: str) -> runner.Answer:
        if is_orphaned() and not stopped:
            # Once: what cleans up afterwards runs commands as well.
            stopped.append(True)
            raise WishError("", "the run of ansible-playbook has ended", "")
        found: Mapping[str, Any] = action._low_level_execute_command(command)
        return runner.Answer(found["rc"], found["stdout"], found["stderr"])

    def put(path: str, text: str) -> None:
        action._transfer_data(path, text)

    here = runner.Place(name, run, put, generator["python"], generator["program"], folder)
    # What runs have left that were killed: no run lasts longer than a day.
    old = f"find {shlex.quote(generator['folder'])} -mindepth 1 -maxdepth 1 -name 'run-*' -mtime +1 -exec rm -rf {{}} +"
    run(f"{old}; mkdir -m 0700 {shlex.quote(folder)}")
    try:
        yield here
    finally:
        runner.interrupt(here)
        run(f"rm -rf {shlex.quote(folder)}")


def follow(crew: Crew, here: runner.Place) -> dict[str, Any]:
    """Carry out the orders of the conductor on another load host."""
    team.follow(crew, here, LONGEST_S)
    return {}
