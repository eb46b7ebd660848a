# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Run the programs in lab/bench/, which measure the figures in the documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fleet_lab import environment
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import openly


def benchmarks(lab: Lab, names: Sequence[str]) -> list[tuple[str, Callable[[], None]]]:
    """Return one stage per program: all of them, or the named ones."""
    folder = lab.root / "lab" / "bench"
    known = {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        raise Stop(
            f"there is no benchmark {', '.join(unknown) or 'in lab/bench'}; known are: {', '.join(known) or 'none'}"
        )
    env = {**environment.ansible(lab), **environment.lab_platform(lab)}
    return [(f"bench: {name}", partial(openly, [lab.python, known[name]], env, lab.root)) for name in names or known]
