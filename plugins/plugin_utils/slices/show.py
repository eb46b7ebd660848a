# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the terminal shows of a sliced run: the stages of all slices as they come, and one recap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told, visible, visible_lines

from ..progress import lines
from ..report.host_names import folded

COUNTS = ("ok", "changed", "unreachable", "failures", "rescued", "skipped")
_LONG = 200


def event_line(seconds: float, label: str, event: Mapping[str, Any]) -> str:
    """Return the line for what a slice has told, empty for what nobody reads."""
    what = event.get("event")
    if what == "stage":
        hosts = told(str(event.get("hosts")), _LONG)
        place = f"{told(str(event.get('number')), 4)}/{told(str(event.get('total')), 4)}"
        title = told(str(event.get("title")), _LONG)
        return line(seconds, label, f"{place}  {title}{f': {hosts}' if hosts else ''}")
    if what == "fatal":
        host, task = told(str(event.get("host")), _LONG), told(str(event.get("task")), _LONG)
        message = visible_lines(str(event.get("message")).rstrip("\n")).replace("\n", "\n    ")
        return line(seconds, label, f"{task}\n{lines.INDENT}fatal: [{host}]: {message}")
    return ""


def line(seconds: float, label: str, text: str) -> str:
    """Return a line of a slice."""
    return f"{lines.elapsed(seconds):>6}  {label}  {text}"


def turn_line(seconds: float, label: str, ended: bool, hosts: Sequence[str], done: int, total: int) -> str:
    """Return the line for a turn that begins or ends."""
    what = "proven" if ended else "takes its turn"
    return line(seconds, label, f"{what}: {folded(map(visible, hosts))} ({done} of {total} hosts done)")


def counts(stats: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Return the counts of each host over all parts of a run."""
    total: dict[str, dict[str, int]] = {}
    for part in stats:
        for host, found in part.items():
            mine = total.setdefault(host, dict.fromkeys(COUNTS, 0))
            for name in COUNTS:
                mine[name] += int(found.get(name, 0))
    return total


def recap(stats: Mapping[str, Mapping[str, int]]) -> str:
    """Return the counts of all hosts, those with equal ones in one row."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for host, found in stats.items():
        alike.setdefault(tuple(found[name] for name in COUNTS), []).append(host)
    rows = [(folded(map(visible, hosts)), found) for found, hosts in alike.items()]
    width = min(48, max((len(hosts) for hosts, _found in rows), default=0))
    cells = "  ".join(f"{name}={{}}" for name in COUNTS)
    return "\n".join(f"{hosts:<{width}} : {cells.format(*found)}" for hosts, found in rows)


def course(hosts: Sequence[str], begun: Iterable[str], done: Iterable[str], failed: Iterable[str]) -> str:
    """Return who is done, who has failed, who has begun without an end, and who has not begun."""
    rest, rows = list(hosts), []
    for title, some in (("failed", failed), ("done", done), ("begun, not finished", begun)):
        named = set(some) & set(rest)
        rows.append((title, [host for host in rest if host in named]))
        rest = [host for host in rest if host not in named]
    order = {"done": 0, "failed": 1, "begun, not finished": 2}
    rows = [*sorted(rows, key=lambda row: order[row[0]]), ("not begun", rest)]
    return "\n".join(f"{title}: {len(some)} ({folded(map(visible, some))})" for title, some in rows if some)


def refusals(fatal: Iterable[tuple[int, str, str]]) -> list[tuple[str, str]]:
    """Return every message of a failure once, with the hosts that it is about."""
    by: dict[str, list[str]] = {}
    for _slice, host, message in fatal:
        some = by.setdefault(visible_lines(message.strip()), [])
        some += [host] if host not in some else []
    return [(folded(map(visible, hosts)), message) for message, hosts in by.items()]
