# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Trials that are still in force when the plan is carried out: the plan takes precedence."""

from __future__ import annotations

from pathlib import Path

from ..disk import durable
from ..host.run import Run
from .place import DROP_IN, UNITS


def found(units: str = UNITS) -> list[Path]:
    """Return the drop-ins of all trials."""
    return sorted(Path(units).glob(f"tfserving@*.service.d/{DROP_IN}"))


def clear(run: Run, units: str = UNITS) -> list[str]:
    """Remove the drop-ins of all trials; return the units that had one.

    What runs with a trial's settings shows by its mark and is restarted by the caller. The timers stay: if the caller
    is killed before that, they restart it, and otherwise they find nothing to do.
    """
    left = found(units)
    for path in left:
        durable.remove(str(path))
    if left:
        run(["systemctl", "daemon-reload"])
    return [path.parent.name.removesuffix(".d") for path in left]
