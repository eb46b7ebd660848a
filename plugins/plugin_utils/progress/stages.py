# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a run.

A play that lists roles has one stage for each of them, titled as in TITLES or by the role's name. Any other play is one
stage, titled by its own name. A task of a role that its play does not list belongs to the stage in progress, as does a
handler of an earlier role: within a play stages only go forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

TITLES = {
    "tfserving.fleet.fleet": "Lock every host",
    "tfserving.fleet.load_generator": "Install the load generator",
    "tfserving.fleet.model_builder": "Install the builder of models",
    "tfserving.fleet.offline_bundle": "Install the bundle",
    "tfserving.fleet.nvidia_driver": "Set up the NVIDIA driver and its GPUs",
    "tfserving.fleet.host_plan": "Plan every host",
    "tfserving.fleet.jemalloc": "Install jemalloc",
    "tfserving.fleet.model_repository": "Publish the models",
    "tfserving.fleet.kernel_tuning": "Tune the kernel",
    "tfserving.fleet.cpu_partition": "Partition the CPUs",
    "tfserving.fleet.tfserving": "Install the server, restart and prove its instances",
    "tfserving.fleet.gateway": "Apply the gateways",
    "tfserving.fleet.monitoring": "Apply the monitoring",
}


@dataclass(frozen=True)
class Play:
    """A play as known before it runs: its name and the full names of the roles that it lists."""

    name: str
    roles: tuple[str, ...]

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of its stages."""
        return tuple(TITLES.get(role, role) for role in self.roles) or (self.name,)


@dataclass(frozen=True)
class Stage:
    """A stage and its place among all stages of the playbooks, including those of plays that match no host."""

    number: int
    total: int
    title: str


class Course:
    """The position of a run. ``plays`` are all plays in order, keyed by the id that ``begin`` is called with."""

    def __init__(self, plays: Mapping[str, Play]) -> None:
        self._plays = dict(plays)
        self._total = sum(len(play.titles) for play in plays.values())
        self._play = ""
        self._place = 0
        self.stage: Stage | None = None

    def begin(self, play: str) -> None:
        """Enter a play, or its next batch of hosts; its first stage begins with its first task."""
        self._play, self._place, self.stage = play, 0, None

    def enter(self, role: str) -> Stage | None:
        """Enter a task of ``role`` (empty for none), and return the stage that it begins, if any."""
        play = self._plays.get(self._play, Play("", ()))
        self._place = max(self._place, play.roles.index(role)) if role in play.roles else self._place
        stage = self._stage(play, self._place)
        begins = stage != self.stage
        self.stage = stage
        return stage if begins else None

    def passed_over(self) -> tuple[Stage, Stage]:
        """Return the first and the last stage of the present play, which has no hosts, both titled by its name."""
        play = self._plays.get(self._play, Play("", ()))
        first, last = (self._stage(play, place) for place in (0, len(play.titles) - 1))
        return replace(first, title=play.name), replace(last, title=play.name)

    def _stage(self, play: Play, place: int) -> Stage:
        before = sum(len(each.titles) for each in self._before(self._play))
        return Stage(before + place + 1, self._total, play.titles[place])

    def _before(self, play: str) -> list[Play]:
        names = list(self._plays)
        return [self._plays[name] for name in names[: names.index(play)]] if play in self._plays else []


def described(play: Any) -> Play:
    """Return what one of Ansible's plays says before it runs.

    Roles that its tasks include, or import in private, are no stages.
    """
    roles = (role.get_name() for role in play.roles if not role.from_include or role.public)
    return Play(play.get_name().strip(), tuple(dict.fromkeys(roles)))


def role_of(task: Any) -> str:
    """Return the full name of the role that one of Ansible's tasks belongs to, empty for none."""
    return str(task._role.get_name()) if task._role else ""
