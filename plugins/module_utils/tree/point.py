# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The restore point of a tree: its files as they were before the first unproven change.

A change of a server takes more than one change of its files, and a run may be killed between two. So the first change
opens the point, every later change adds the paths that it touches as they were before, and the caller that has proven
the resulting service closes it. Until then ``state=restored`` brings everything back at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .change import NO_RULES, Change, Plan, Rules, plan_reverted, remembered
from .files import Host
from .state import POINT, SCHEMA, Record, Store


def remember(store: Store, manifest: Mapping[str, Any], plan: Plan) -> bool:
    """Add the present state of all that ``plan`` will change to the point; return whether this opened it."""
    point = store.load(POINT)
    opened = point is None
    point = point or _opened(manifest)
    steps = point["steps"]
    known = {step["path"] for step in steps["changes"]}
    fresh = [change for change in plan.changes if change.path not in known]
    kept = {}
    for number, change in enumerate(fresh, len(steps["changes"])):
        name = f"{number:06d}" if change.before.kind == "file" else ""
        steps["changes"].append(_step(change, name))
        if name:
            kept[name] = change.before.content
    made = {step["path"] for step in steps["make"]}
    for kind, changes in (("make", plan.make), ("drop", plan.drop), ("adjust", plan.adjust)):
        known = made | {step["path"] for step in steps[kind]}
        steps[kind] += [_step(change) for change in changes if change.path not in known]
    store.put_by_point(kept)
    store.save(POINT, point)
    return opened


def plan_restored(
    host: Host, manifest: Mapping[str, Any], store: Store, rules: Rules = NO_RULES,
    keep: Mapping[str, Iterable[str]] | None = None,
) -> Plan:  # fmt: skip
    """Plan to restore every file as of the point, if there is one, except those of the entries in ``keep``."""
    point = store.load(POINT)
    if not point:
        return Plan(files=manifest["files"], directories=manifest["directories"], revertable=False)
    stays = _of(keep or {})
    changes = [step for step in point["steps"]["changes"] if not stays(step["entries"])]
    previous = {path: known for path, known in point["files"].items() if not stays(known["entries"])}
    previous |= {path: known for path, known in manifest["files"].items() if stays(known["entries"])}
    since = {
        **manifest,
        "revertable": True,
        "steps": {**point["steps"], "changes": changes},
        "previous": {"files": previous, "directories": point["directories"]},
    }
    plan = plan_reverted(host, since, store.fetch_point, rules)
    gone = {change.path for change in plan.drop}
    # Directories of the files that stay remain the tree's own.
    plan.directories = sorted({*plan.directories, *manifest["directories"]} - gone)
    return plan


def note(store: Store, key: str, value: Any) -> Any:
    """Store ``value`` in an open point, once; return the stored value, or ``value`` if there is no point."""
    point = store.load(POINT)
    if point is None:
        return value
    if key not in point:
        store.save(POINT, {**point, key: value})
        return value
    return point[key]


def noted(store: Store, key: str) -> Any:
    """Return a value stored in the open point, or None."""
    return (store.load(POINT) or {}).get(key)


def close(store: Store) -> None:
    """Delete the point: the service that the files describe is proven."""
    if os.path.exists(os.path.join(store.path, POINT)):
        store.remove(POINT)
        store.discard_point()


def _of(keep: Mapping[str, Iterable[str]]) -> Callable[[Mapping[str, str]], bool]:
    """Return a function that tells whether a file with given entries is to be kept."""
    names = {(placeholder, name) for placeholder, kept in keep.items() for name in kept}
    return lambda entries: bool(names.intersection(entries.items()))


def _opened(manifest: Mapping[str, Any]) -> Record:
    return {
        "schema": SCHEMA,
        "dest": manifest["dest"],
        "files": manifest["files"],
        "directories": manifest["directories"],
        "steps": {"changes": [], "make": [], "adjust": [], "drop": []},
    }


def _step(change: Change, kept: str = "") -> Record:
    step = {"path": change.path, "before": remembered(change.before, kept), "entries": dict(change.entries)}
    return {**step, "secret": True} if change.secret else step
