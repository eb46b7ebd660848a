# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One call of the module `gate`: what it does to the gates of a host, and what it returns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import record as records
from .door import Door, Left, Seen
from .record import Record

QUERY = "query"


def carry_out(door: Door, wishes: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Do what the module's parameters ask for and return its result.

    Raises RuntimeError, in one sentence, where it must not begin or has waited in vain; OSError where the host cannot
    keep a record.
    """
    if not door.present:
        # A run does as it did before there were gates.
        if wishes["state"] == QUERY or wishes["kind"] == records.RUN:
            return {"changed": False, "instances": [], "gateways": {}}
        raise RuntimeError(f"{door.config}: is missing, so this host has no gates; run the playbook site.yml first")
    names = _names(door, wishes["instances"])
    deed = {records.OPEN: _open, QUERY: _query}.get(wishes["state"], _close)
    changed, left = deed(door, names, wishes, check_mode)
    known = {one.name: one for one in left}
    instances = [_told(one, known.get(one.name)) for one in door.seen(names)]
    return {"changed": changed, "instances": instances, "gateways": door.gateways()}


def _names(door: Door, wanted: Sequence[str]) -> list[str]:
    there = door.names
    strange = sorted(set(wanted) - set(there))
    if strange:
        has = f"it has {', '.join(there)}" if there else "it has none"
        raise RuntimeError(f"instances: this host has no instance {strange[0]}; {has}")
    return list(dict.fromkeys(wanted)) or there


def _query(
    _door: Door, _names: Sequence[str], _wishes: Mapping[str, Any], _check_mode: bool
) -> tuple[bool, list[Left]]:
    return False, []


def _open(door: Door, names: Sequence[str], wishes: Mapping[str, Any], check_mode: bool) -> tuple[bool, list[Left]]:
    changed = any(door.holds(name, wishes["kind"]) for name in names)
    if not check_mode and (changed or wishes["wait"]):
        found = door.back(names, wishes["kind"], wishes["wait"], wishes["timeout_s"])
        problems = [f"instance {one.name} is not back: {one.problem}" for one in found if one.problem]
        if problems:
            raise RuntimeError(f"{'; '.join(problems)} after {wishes['timeout_s']:g} s")
    return changed, []


def _close(door: Door, names: Sequence[str], wishes: Mapping[str, Any], check_mode: bool) -> tuple[bool, list[Left]]:
    if not wishes["force"]:
        door.check()
    now = time.time()
    texts = {key: wishes[key] for key in ("state", "reason", "by", "kind", "run")}
    record = Record(**texts, since=now, until=now + wishes["until_s"] if wishes["until_s"] else None)
    changed = any(door.would_set(name, record) for name in names)
    if check_mode:
        return changed, []
    if wishes["wait"]:
        # What is drained still serves those who call it directly; only what is closed refuses them.
        return changed, door.leave(names, record, refuse=record.refuses())
    for name in names:
        door.set(name, record)
    return changed, []


def _told(seen: Seen, left: Left | None) -> dict[str, Any]:
    record = seen.record
    return {
        "name": seen.name,
        "open": seen.open,
        "state": seen.state,
        "words": seen.words,
        "by": record.by if record else "",
        "since": record.since if record else None,
        "until": record.until if record else None,
        "proven": list(left.proven) if left else [],
        "unproven": list(left.unproven) if left else [],
        "direct_callers": list(left.direct_callers) if left else [],
    }
