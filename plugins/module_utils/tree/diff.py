# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Shows a plan for ``--diff``, in the format of ansible.builtin.template."""

from __future__ import annotations

import contextlib
import grp
import pwd
from collections.abc import Callable
from typing import Any

from .change import NOBODY_YET, Change, Plan
from .files import ABSENT, Host, Seen

# Says only that there is a difference: a checksum, or even the size, of a short password gives it away.
_HIDDEN = "(content hidden: it is secret)\n"
_HIDDEN_CHANGED = "(content hidden: it is secret, and changed)\n"


def differences(plan: Plan, host: Host, largest: int) -> list[dict[str, Any]]:
    """List the changes, content and attributes apart; contents above ``largest`` bytes (0: no limit) are left out.

    Neither side of a secret file is shown.
    """
    found = []
    for change in plan.changes:
        path = host.path(change.path)
        if (change.before.kind, change.before.content) != (change.after.kind, change.after.content):
            found.append(_content(change, path, largest))
        if ABSENT not in (change.before, change.after) and not change.before.same_attributes(change.after):
            found.append(_attributes(change, path))
    found.extend(_attributes(change, host.path(change.path)) for change in plan.adjust)
    return found


def _content(change: Change, path: str, largest: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "before_header": path,
        "after_header": f"{path} (removed)" if change.after == ABSENT else change.source or path,
    }
    if change.secret:
        new = _HIDDEN if change.before == ABSENT else _HIDDEN_CHANGED
        shown["before"] = "" if change.before == ABSENT else _HIDDEN
        shown["after"] = "" if change.after == ABSENT else new
        return shown
    for key, side, seen in (("before", "dst", change.before), ("after", "src", change.after)):
        text = _text(seen)
        if largest and len(seen.content) > largest:
            shown[f"{side}_larger"] = largest
        elif text is None:
            shown[f"{side}_binary"] = 1
        else:
            shown[key] = text
    return shown


def _text(seen: Seen) -> str | None:
    if seen.kind == "link":
        return f"link to {seen.content.decode(errors='replace')}\n"
    if b"\0" in seen.content:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        return seen.content.decode()
    return None


def _attributes(change: Change, path: str) -> dict[str, Any]:
    header = f"{path} (file attributes)"
    before, after = _named(change.before), _named(change.after)
    differing = [key for key in before if before[key] != after[key] and after[key] is not None]
    return {
        "before_header": header,
        "after_header": header,
        "before": {"path": path, **{key: before[key] for key in differing}},
        "after": {"path": path, **{key: after[key] for key in differing}},
    }


def _named(seen: Seen) -> dict[str, str | None]:
    owner = _name(seen.uid, lambda uid: pwd.getpwuid(uid).pw_name)
    group = _name(seen.gid, lambda gid: grp.getgrgid(gid).gr_name)
    return {"mode": f"{seen.mode:04o}", "owner": owner, "group": group}


def _name(number: int, look_up: Callable[[int], str]) -> str | None:
    if number < 0:
        return "not there yet" if number == NOBODY_YET else None
    try:
        return look_up(number)
    except KeyError:
        return str(number)
