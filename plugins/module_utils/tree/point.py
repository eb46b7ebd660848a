# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The point that a tree can be brought back to: its files as they were before the first unproven change.

A change of a server is more than one change of its files, and a run may be killed between two. So the point is opened
by the first change, learns of every path that later changes touch how it was before, and is closed by whoever has
proven that what the files call for works. Until then ``state=restored`` brings back all of it at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .change import NO_RULES, Change, Plan, Rules, plan_reverted, remembered
from .files import Host
from .state import POINT, SCHEMA, Record, Store


def remember(store: Store, manifest: Mapping[str, Any], plan: Plan) -> bool:
    """Add to the point how everything is that ``plan`` is about to change; return whether this opened it."""
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
    """Bring back every file as it was at the point; nothing where there is none. ``keep``: entries left as they are."""
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
    # The directories of what stays are the tree's own as before.
    plan.directories = sorted({*plan.directories, *manifest["directories"]} - gone)
    return plan


def note(store: Store, key: str, value: Any) -> Any:
    """Write ``value`` into an open point once; return what stands there, or ``value`` where there is no point."""
    point = store.load(POINT)
    if point is None:
        return value
    if key not in point:
        store.save(POINT, {**point, key: value})
        return value
    return point[key]


def noted(store: Store, key: str) -> Any:
    """Return what was noted in the open point; None where nothing was."""
    return (store.load(POINT) or {}).get(key)


def close(store: Store) -> None:
    """Forget the point: what the files call for is proven."""
    if os.path.exists(os.path.join(store.path, POINT)):
        store.remove(POINT)
        store.discard_point()


def _of(keep: Mapping[str, Iterable[str]]) -> Callable[[Mapping[str, str]], bool]:
    """Tell of a file's entries whether they are to be left as they are."""
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
