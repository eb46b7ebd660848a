# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Silences of planned work, by amtool on a monitoring host.

A piece of work has a name, which its silences carry in their comments, and one silence for each of its scopes. Work
that goes on, or begins anew, lengthens the silences that it has; those of scopes that it no longer has end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ..host.run import Run
from ..serving.bounded_http import parsed
from ..visible_text import told

AUTHOR = "tfserving.fleet"
# For Alertmanager to answer, and for amtool to end whatever happens.
ANSWER_S, LONGEST_S = 5, 15
# A silence for longer is none of planned work (a roll-out is watched for a week at most).
MOST_MINUTES = 7 * 24 * 60
# Labels that say what an alert is about: a silence without its alerts' names, or without one of these, is too wide.
SUBJECTS = ("model", "serving_instance", "host")
# What names of alerts, hosts, instances and models consist of. No sign of a regular expression but the dot is among it.
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_NAME = re.compile(r"[A-Za-z0-9_.: -]{1,200}")
# 2026-11-28T09:00:00.000Z; Go leaves out a fraction of zero.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z")

Scope = Mapping[str, Sequence[str]]
Matchers = frozenset[tuple[str, str]]


class SilenceError(Exception):
    """Why alerts could not be silenced, as a sentence."""


@dataclass(frozen=True)
class Silence:
    """A silence of this collection that has not ended."""

    id: str
    matchers: Matchers
    ends: datetime


@dataclass(frozen=True)
class Work:
    """Planned work: its name, what it says of itself, what it touches, and how long it may take."""

    name: str
    comment: str
    scopes: Sequence[Scope]
    minutes: float


def refuse(work: Work) -> None:
    """Raise SilenceError for work whose silences would hide more than what it causes."""
    if not _NAME.fullmatch(work.name):
        raise SilenceError(f"name: {told(work.name, 60)} is no name; use letters, digits, blanks and . _ : -")
    if not 1 <= work.minutes <= MOST_MINUTES:
        raise SilenceError(f"minutes: {work.minutes:g} is not between 1 and {MOST_MINUTES}; a silence ends by itself")
    for place, scope in enumerate(work.scopes):
        _refuse_scope(f"scopes[{place}]", scope)


def _refuse_scope(where: str, scope: Scope) -> None:
    if not scope.get("alertname") or not any(scope.get(label) for label in SUBJECTS):
        raise SilenceError(f"{where}: would silence too much; name alerts in alertname, and one of {_or(SUBJECTS)}")
    for label, values in scope.items():
        if label not in ("alertname", *SUBJECTS):
            raise SilenceError(f"{where}.{told(label, 40)}: is no label to silence by; use alertname, {_or(SUBJECTS)}")
        if not isinstance(values, list):
            raise SilenceError(f"{where}.{label}: is no list; give a list of names")
        bad = next((str(each) for each in values if not _WORD.fullmatch(str(each))), None)
        if bad is not None:
            raise SilenceError(f"{where}.{label}: {told(bad, 60)} is no name; use letters, digits and . _ : -")


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def matchers(scope: Scope) -> Matchers:
    """Return the regular expressions of a scope by label. Alertmanager anchors them."""
    return frozenset((label, _pattern(values)) for label, values in scope.items() if values)


def _pattern(values: Iterable[str]) -> str:
    # Not a backslash, which amtool's two parsers of matchers treat differently.
    return "|".join(sorted({value.replace(".", "[.]") for value in values}))


class Amtool:
    """Alertmanager's own program. Without ``url`` both are those of its configuration, which the role lays down."""

    def __init__(self, run: Run, url: str = "", http_config: str = "") -> None:
        self.run = run
        self.options = [f"--timeout={ANSWER_S}s", "--no-version-check"]
        self.options += [f"--alertmanager.url={url}"] if url else []
        # Else it would show its configured account to another server.
        http_config = http_config or ("/dev/null" if url else "")
        self.options += [f"--http.config.file={http_config}"] if http_config else []

    def silences(self, name: str, with_parts: bool = False) -> list[Silence]:
        """Return the silences of a piece of work that have not ended, and those of work whose name goes on."""
        text = self._call("query", f"--created-by={AUTHOR}", "--output=json")
        begins = (f"{name}: ", f"{name} ") if with_parts else f"{name}: "
        try:
            found = [_read(each) for each in parsed(text.encode()) if each["comment"].startswith(begins)]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SilenceError(f"amtool does not list silences as known ({told(str(error), 100)})") from error
        return sorted(found, key=lambda each: each.id)

    def add(self, work: Work, wanted: Matchers, ends: datetime) -> str:
        """Make a silence; return its id."""
        written = [f'{label}=~"{pattern}"' for label, pattern in sorted(wanted)]
        comment = f"--comment={work.name}: {work.comment}"
        return self._call("add", f"--author={AUTHOR}", comment, f"--end={_text(ends)}", *written).strip()

    def lengthen(self, silence: Silence, ends: datetime) -> None:
        """Let a silence end later."""
        self._call("update", f"--end={_text(ends)}", "--quiet", silence.id)

    def expire(self, silence: Silence) -> None:
        """End a silence now."""
        self._call("expire", silence.id)

    def _call(self, command: str, *arguments: str) -> str:
        # timeout is of coreutils, which every Debian has: amtool's own limit is for one exchange.
        status, out, err = self.run(
            ["timeout", str(LONGEST_S), "amtool", *self.options, "silence", command, *arguments]
        )
        if status == 124:
            raise SilenceError(f"amtool silence {command} has not ended after {LONGEST_S} s")
        if status != 0:
            raise SilenceError(f"amtool silence {command} failed: {_words(err or out, status)}")
        return out


def _words(text: str, status: int) -> str:
    return told(" ".join(text.replace("amtool: error: ", "").split()), 300) or f"exit status {status}"


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(found: Mapping[str, Any]) -> Silence:
    moment = _TIME.fullmatch(found["endsAt"])
    if not moment:
        raise ValueError("an end is no time")
    ends = datetime.strptime(moment.group(1), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return Silence(found["id"], frozenset((each["name"], each["value"]) for each in found["matchers"]), ends)


def present(amtool: Amtool, work: Work, now: datetime, is_check: bool) -> dict[str, list[str]]:
    """Silence what the work causes; return the ids, by what was done with them.

    A silence of the same scope is lengthened once less than half of the wished time is left, so that a run that asks
    again and again changes little.
    """
    known = {each.matchers: each for each in amtool.silences(work.name)}
    wanted = [matchers(scope) for scope in work.scopes]
    ends = now + timedelta(minutes=work.minutes)
    short = [known[each] for each in wanted if each in known and ends - known[each].ends > (ends - now) / 2]
    other = [silence for each, silence in known.items() if each not in wanted]
    missing = [each for each in wanted if each not in known]
    if is_check:
        return {"added": ["" for _ in missing], "lengthened": [each.id for each in short], "expired": _ids(other)}
    for silence in short:
        amtool.lengthen(silence, ends)
    # What is new first: nobody hears of an alert that both of them cover.
    added = [amtool.add(work, each, ends) for each in missing]
    for silence in other:
        amtool.expire(silence)
    return {"added": added, "lengthened": _ids(short), "expired": _ids(other)}


def absent(amtool: Amtool, name: str, is_check: bool) -> dict[str, list[str]]:
    """End all silences of a piece of work and of its parts; return their ids."""
    found = amtool.silences(name, with_parts=True)
    for silence in () if is_check else found:
        amtool.expire(silence)
    return {"added": [], "lengthened": [], "expired": _ids(found)}


def _ids(silences: Iterable[Silence]) -> list[str]:
    return [each.id for each in silences]
