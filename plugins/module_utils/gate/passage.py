# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates as a run uses them: an instance leaves before it is disturbed, and comes back once it is proven."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..serving.traffic import Traffic
from ..serving.units import Units
from . import told
from .door import Door
from .record import CLOSED, RUN, Record

COMPANION = "tfserving-gate.service"


class Passage(Traffic):
    """The traffic of a host with gates.

    :param holder: who holds the lock of the run, as ``host/run_lock.py`` reads it; empty without a lock.
    :param forced: whether an instance leaves although a gateway is silent: a failed run has to be taken back.
    """

    def __init__(
        self, door: Door, holder: Mapping[str, Any], forced: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        self.door = door
        self.holder = holder
        self.forced = forced
        self.now = now
        self.companion = Units(door.run, COMPANION)

    def settle(self) -> str:
        """Start, restart or stop the companion."""
        unit = self.companion.show("")
        if not self.door.present:
            if unit.active:
                self.companion.stop("")
            return "stopped" if unit.active else ""
        if self.companion.reload_needed([""]):
            self.companion.reload()
            unit = self.companion.show("")
        if not unit.active:
            self.companion.start("")
            return "started"
        if unit.running_mark != unit.mark:
            self.companion.restart("")
            return "restarted"
        return ""

    def due(self) -> str:
        """Return what ``settle`` would do to the companion."""
        unit = self.companion.show("")
        if not self.door.present:
            return "stopped" if unit.active else ""
        if not unit.active:
            return "started"
        return "restarted" if unit.running_mark != unit.mark or self.companion.reload_needed([""]) else ""

    def gates(self) -> dict[str, str]:
        """Return the gates as the companion answers for them."""
        return told.words(self.door.config)

    def hold(self, name: str) -> None:
        """Close the gate on behalf of this run: nobody sends anything yet, so there is nothing to wait for."""
        if self.door.present:
            self.door.set(name, self._record())

    def leave(self, name: str) -> list[str]:
        """Close the gate on behalf of this run and carry out the order of leaving."""
        if not self.door.present:
            return []
        if not self.forced:
            self.door.check()
        (left,) = self.door.leave([name], self._record())
        callers = ", ".join(left.direct_callers)
        return [*left.unproven, *([f"{callers} call it past the gateways, and nobody told them"] if callers else [])]

    def back(self, name: str) -> str:
        """Open the gate that this run, or one before it that died, has closed."""
        if not self.door.present:
            return ""
        (seen,) = self.door.back([name])
        return seen.problem

    def forget(self, name: str) -> None:
        """Take away what held an instance that is gone."""
        if self.door.present:
            self.door.back([name], wait=False)

    def _record(self) -> Record:
        by = self.holder.get("who") or "somebody"
        why = f"{self.holder.get('playbook') or 'a run'} changes it"
        return Record(CLOSED, why, by, RUN, self.holder.get("run", ""), self.now())
