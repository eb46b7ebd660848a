# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The measured host as the conductor orders it: it tries settings, by a version of its models where that is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..benchmark.crew import PATIENCE_S, Crew
from ..planner.schema import InstancePlan
from . import on_host, space
from .space import Setting
from .ways import RESTART, VERSION, Way, obstacle, way

# The slowest start that a trial waits for is that of the instance; this is for the call itself.
CALL_S = PATIENCE_S + 3600.0
# What the conductor needs to know of a module's result.
ANSWERED = ("failed", "msg", "waited_s", "changed", "pid", "memory", "sample")
# Of a server's words in a reason.
LONGEST_WORDS = 300


class Host:
    """The measured host, which tries settings on order.

    ``served`` has the versions of each model that the plan's settings serve.
    """

    def __init__(
        self, crew: Crew, name: str, instance: str, owner: str, expires_s: int, served: Mapping[str, Sequence[int]],
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._crew, self.name, self._instance, self._owner = crew, name, instance, owner
        self._expires_s, self._served, self._now = expires_s, served, now
        self._running: Setting | None = None
        self._pid = self._number = 0
        self.obstacle: str | None = None
        """Why it takes no versions; empty if it does, None before the first order."""

    def put(self, plan: InstancePlan) -> dict[str, Any]:
        """Put settings in force; return the module's result, which has ``failed`` where the server does not serve.

        It also has ``tried_by`` (``ways``) and ``why``.
        """
        if self.obstacle is None:
            self.obstacle = obstacle(plan, self._served)
        wanted = space.of_plan(plan)
        planned = way(self._running, wanted, self.obstacle)
        found = self._put(plan, wanted, planned, self._own(planned) if wanted.batches and not self.obstacle else None)
        if not found.get("failed") or not wanted.batches or self.obstacle:
            return found
        # It may be the settings, or what a version of a trial differs in: a restart with the plan's own versions tells.
        again = self._put(plan, wanted, Way(RESTART, "it did not serve as a version"), None)
        if not again.get("failed"):
            self.obstacle = f"a version did not come to serve: {str(found.get('msg'))[-LONGEST_WORDS:]}"
        return again

    def _own(self, planned: Way) -> on_host.Own:
        """Return the versions of the next trial. Numbers rise across runs too, one of which may go on with another."""
        if planned.how in (RESTART, VERSION):
            self._number = max(self._number + 1, int(self._now()))
        return on_host.Own(self._number, {model: numbers[0] for model, numbers in self._served.items()})

    def _put(self, plan: InstancePlan, wanted: Setting, planned: Way, own: on_host.Own | None) -> dict[str, Any]:
        found = self._call(on_host.present(plan, self._owner, self._expires_s, own))
        is_same = found.get("pid", 0) == self._pid and not found.get("failed")
        self._running = None if found.get("failed") else wanted
        # Where a server was replaced although a version was enough, the host has the last word.
        how = planned.how if is_same else RESTART
        self._pid = found.get("pid", 0)
        return {**found, "tried_by": how, "why": planned.why if how == planned.how else "its server was another one"}

    def renew(self) -> Mapping[str, Any]:
        """Postpone the end of the trial; return the module's result, with ``memory`` and ``sample``.

        Raises WishError if the trial has ended meanwhile.
        """
        result = self._call(on_host.renewed(self._instance, self._owner, self._expires_s))
        if result.get("failed"):
            raise WishError("", f"{self.name}: {result.get('msg')}", "")
        return result

    def restore(self) -> bool:
        """Bring the plan's settings back; return whether they serve."""
        self._running = None
        return not self._call(on_host.absent(self._instance, self._owner)).get("failed")

    def _call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._crew.order({self.name: {"module": on_host.MODULE, "arguments": arguments}})
        answer: dict[str, Any] = self._crew.answers([self.name], CALL_S)[0]
        return answer
