# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What somebody decided about an instance's gate: a small file that survives restarts and boots.

No record means open. A record that cannot be read counts as closed: nobody knows what it was to hold back.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..disk import durable, folders, plain_files
from ..visible_text import told

FOLDER = "/var/lib/tfserving-fleet/gate"
SCHEMA = 1
OPEN, DRAINING, CLOSED = "open", "draining", "closed"
PERSON, RUN, ROLLOUT = "person", "run", "rollout"
# Nobody overwrites or lifts a record of those who stand further up: a run knows least of why somebody closed a gate.
KINDS = (RUN, ROLLOUT, PERSON)

_MOST_BYTES = 16 * 1024
# A reason is one line of a page; the gateway's page shows no more either.
_MOST_CHARACTERS = 200


def _is_moment(value: Any) -> bool:
    return plain_files.fits(value, (int, float)) and 0 <= value < 2**33


_SHAPE = {
    "schema": lambda value: value == SCHEMA,
    "state": lambda value: value in (DRAINING, CLOSED),
    "reason": str,
    "by": str,
    "kind": lambda value: value in KINDS,
    "run": str,
    "since": _is_moment,
    "until": lambda value: value is None or _is_moment(value),
}


@dataclass(frozen=True)
class Record:
    """``since`` and ``until`` in seconds of the clock, 0 and None where nobody knows and for as long as it takes."""

    state: str
    reason: str
    by: str
    kind: str
    run: str = ""
    since: float = 0
    until: float | None = None

    def yields_to(self, kind: str) -> bool:
        """Return whether one of this kind may overwrite or lift it."""
        return KINDS.index(self.kind) <= KINDS.index(kind)

    def refuses(self) -> bool:
        """Return whether new connections stay refused for it: a passing end could not take that back."""
        return self.state == CLOSED and self.until is None

    def says(self, other: Record) -> bool:
        """Return whether it says the same as another, whenever that was said."""
        return self.until == other.until and replace(self, since=0) == replace(other, since=0)

    def words(self) -> str:
        """Return who closed the gate, why and since when."""
        why = f": {self.reason}" if self.reason else ""
        since = time.strftime(" since %Y-%m-%dT%H:%MZ", time.gmtime(self.since)) if self.since else ""
        return f"{self.state} by {self.by}{why}{since}"


def path_of(name: str, folder: str = FOLDER) -> str:
    """Return the path of an instance's record."""
    return os.path.join(folder, f"{name}.json")


def read(name: str, now: float, folder: str = FOLDER) -> Record | None:
    """Return the record of an instance at the moment ``now`` of the clock; None where there is none in force."""
    path = path_of(name, folder)
    try:
        found = plain_files.json_of(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _damaged(path, error.strerror or "it cannot be read")
    except ValueError:
        return _damaged(path, "it is no JSON")
    if not plain_files.fits(found, _SHAPE):
        return _damaged(path, "it is no record of a gate")
    if found["until"] is not None and found["until"] <= now:
        return None
    texts = {key: told(found[key], _MOST_CHARACTERS) for key in ("reason", "by", "run")}
    return Record(found["state"], kind=found["kind"], since=found["since"], until=found["until"], **texts)


def _damaged(path: str, problem: str) -> Record:
    # As a person's, so that no run opens what a person may have closed.
    return Record(CLOSED, f"{path} cannot be read ({problem}); remove it or open the gate", "nobody known", PERSON)


def write(name: str, record: Record, folder: str = FOLDER) -> None:
    """Put a record in force, durably. Raises OSError."""
    folders.make(folder)
    texts = {key: told(value, _MOST_CHARACTERS) for key, value in asdict(record).items() if isinstance(value, str)}
    content = json.dumps({"schema": SCHEMA, **asdict(record), **texts}, sort_keys=True, indent=1)
    durable.write(path_of(name, folder), f"{content}\n".encode())


def remove(name: str, folder: str = FOLDER) -> None:
    """Take an instance's record away, durably. Raises OSError."""
    durable.remove(path_of(name, folder))
