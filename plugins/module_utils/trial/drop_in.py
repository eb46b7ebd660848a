# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The runtime drop-in that puts a trial in force: its text, and what a text on a host says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..disk import plain_files
from ..serving.units import MARK
from ..unit_text import argument, path
from .place import Place
from .wish import OWNER, Wish

MARKED = "trial-"
# Ours hold a command line: a few kilobytes.
_LARGEST = 1 << 20
_OWNER = re.compile(rf"^# owner: ({OWNER.pattern})$", re.MULTILINE)
_DIGEST = re.compile(rf"^Environment={MARK}={MARKED}([0-9a-f]{{12}})$", re.MULTILINE)


class InForce(NamedTuple):
    """A trial as its drop-in on the host describes it; a damaged one has an empty owner and digest."""

    owner: str
    digest: str


def text(wish: Wish, instance: Mapping[str, Any], place: Place) -> str:
    """Return the drop-in of a trial of ``instance``, an entry of the plan."""
    lines = [
        "# A trial of other settings (tfserving.fleet.instance_trial). It ends by itself: see systemctl list-timers.",
        f"# owner: {wish.owner}",
        "[Service]",
        # Differs from every plan's mark, so that a run that finds this process restarts it.
        f"Environment={MARK}={MARKED}{wish.digest}",
    ]
    if (instance.get("unit") or {}).get("RootDirectory"):
        lines.append(f"BindReadOnlyPaths={path(place.folder)}")
    command = [instance["server"]["binary"], *wish.arguments]
    return "\n".join([*lines, "ExecStart=", f"ExecStart={' '.join(map(argument, command))}", ""])


def read(place: Place) -> InForce | None:
    """Return the trial whose drop-in is on the host, or None."""
    try:
        found = plain_files.read(place.drop_in, _LARGEST).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError:
        found = ""
    owner, digest = _OWNER.search(found), _DIGEST.search(found)
    return InForce(owner.group(1) if owner else "", digest.group(1) if digest else "")
