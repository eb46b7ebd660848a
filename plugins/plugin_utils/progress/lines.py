# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lines that show a run's progress."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import shortened, visible, visible_lines

from ..report.host_names import folded
from .stages import Stage

# Longest list of host names that can be read at a glance; longer ones are counted.
NAMES_CHARS = 48
# Lines of a stage align with its title.
INDENT = " " * 8


def elapsed(seconds: float) -> str:
    """Return a duration: ``0:05``, ``12:40``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def stage_line(seconds: float, stage: Stage, hosts: str) -> str:
    """Return the line that opens a stage; ``hosts`` is text from ``batch``."""
    title = visible(stage.title)
    return f"{elapsed(seconds):>6}  {stage.number}/{stage.total}  {title}{f': {hosts}' if hosts else ''}"


def passed_line(seconds: float, first: Stage, last: Stage) -> str:
    """Return the line that stands for the stages of a play without hosts, so that no number is missing."""
    numbers = f"{first.number}" if first == last else f"{first.number}-{last.number}"
    return f"{elapsed(seconds):>6}  {numbers}/{first.total}  {visible(first.title)}: no hosts"


def batch(hosts: Collection[str], before: int, total: int) -> str:
    """Return the hosts of a stage: their names if short, else their number; for a batch, with its place."""
    names = folded(map(visible, hosts))
    shown = names if len(names) <= NAMES_CHARS else f"{len(hosts)} hosts"
    if len(hosts) >= total:
        return shown
    first, last = before + 1, before + len(hosts)
    place = f"{first}" if first == last else f"{first}-{last}"
    return f"{shown} ({place} of {total} hosts)"


def task_line(seconds: float, task: str) -> str:
    """Return the line above a task's message."""
    return f"{elapsed(seconds):>6}  {visible(task)}"


def changed_line(task: str, hosts: Iterable[str]) -> str:
    """Return the line that names the hosts a task has changed."""
    return f"{INDENT}changed: {visible(task)} [{folded(map(visible, hosts))}]"


def refusal(host: str, message: str) -> str:
    """Return a failure with its whole message, further lines indented."""
    return f"fatal: [{visible(host)}]: FAILED! => " + visible_lines(message.rstrip("\n")).replace("\n", "\n    ")


def live_line(stage: Stage, task: str, done: int, of: int, since: str, width: int) -> str:
    """Return the line shown while a task runs, with the number of hosts that have answered, in at most ``width``."""
    how_far = f"{done} of {of} hosts" if of > 1 else ""
    parts = [f"{stage.number}/{stage.total}  {visible(task)}", how_far, f"since {since}"]
    return shortened("  ".join(filter(None, parts)), max(width, 1))
