# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The calls of a model's arms in a roll-out, counted from HAProxy's own log lines.

HAProxy's counters begin at 0 with every reload, know nothing of gRPC's status and nothing of slow calls. Its log has a
line for each call, of whichever of its processes. What callers send stands in it only encoded, so that no line can be
made to look like another field; lines that are not whole are left out.

No line is counted twice: where the place in the journal is lost, counting begins anew behind whatever there is.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable

from ..disk import folders
from ..disk.record import Record
from ..errors import WishError
from ..models.names import MODEL_NAME
from . import log_socket, runtime
from .journal import Entry, Read, has_booted

# Beside the records of roll-outs, where no model's own file can be.
FOLDER = "/var/lib/tfserving-fleet/rollout/calls"
SCHEMA = 1
ARMS = ("canary", "control")
COUNTERS = ("calls", "errors", "slow", "golden_calls", "golden_errors")
# Calls that ask a model to compute. Others say nothing about a version.
PREDICTS = {
    "rest": frozenset({"predict", "classify", "regress"}),
    "grpc": frozenset({"Predict", "Classify", "Regress", "MultiInference"}),
}
# By the caller's own wish.
_CANCELLED = "1"
_FIELDS = ("protocol", "model", "call", "arm", "status", "grpc", "end", "total_ms")
_BEGIN = "tfserving protocol="
_NUMBER = re.compile(r"-?[0-9]{1,10}")
# HAProxy's longest line by default is 1 KB; our longest fields, encoded, are below that.
_LONGEST = 8192
_MOST = 2**53


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


_COUNTS = dict.fromkeys(COUNTERS, _is_count)
SHAPE = {
    "schema": int,
    "process": str,
    "generation": int,
    "cursor": str,
    "haproxy": {"pid": str, "dropped": int},
    **dict.fromkeys(ARMS, _COUNTS),
}


@dataclass(frozen=True)
class Call:
    """One call as its line tells it. An error is the server's, or of no answer; ``total_ms`` is negative for none."""

    model: str
    arm: str
    is_error: bool
    total_ms: int
    is_answered: bool

    def is_slow(self, slow_ms: float) -> bool:
        """Return whether it was answered later than ``slow_ms``, or not at all; 0 for never."""
        return slow_ms > 0 and (not self.is_answered or self.total_ms > slow_ms)


def parsed(line: str) -> Call | None:
    """Return the call of a line of HAProxy's, or None for any other line and for calls of no arm."""
    if not line.startswith(_BEGIN) or len(line) > _LONGEST:
        return None
    found: dict[str, str] = {}
    for word in line[len("tfserving ") :].split(" "):
        key, sign, value = word.partition("=")
        if not sign or key in found:
            return None
        found[key] = value
    if any(each not in found for each in _FIELDS) or found["arm"] not in ARMS:
        return None
    if found["call"] not in PREDICTS.get(found["protocol"], ()):
        return None
    if not (_NUMBER.fullmatch(found["status"]) and _NUMBER.fullmatch(found["total_ms"])):
        return None
    return _judged(found)


def _judged(found: Mapping[str, str]) -> Call:
    """Return the call of complete fields.

    A call that its caller has given up is no error, but one without an answer. Errors of callers (400, a wrong shape)
    are counted: they reach both arms alike, unless it is the new version that takes something else.
    """
    status, end = int(found["status"]), found["end"]
    has_left = end[:1] in ("C", "c") or found["grpc"] == _CANCELLED
    is_whole = end[:1] == "-" and 100 <= status <= 599
    is_refused = status >= 400 or (found["protocol"] == "grpc" and found["grpc"] not in ("-", "0", ""))
    return Call(
        model=found["model"],
        arm=found["arm"],
        is_error=not has_left and (is_refused or not is_whole),
        total_ms=int(found["total_ms"]),
        is_answered=is_whole and not has_left,
    )


def record(model: str, folder: str = FOLDER) -> Record:
    """Return the record of what was counted of a model. Raises WishError for a name that cannot be a file's."""
    if not MODEL_NAME.fullmatch(model):
        raise WishError("model", "cannot be a model", "use letters, digits, '_', '-' and '.'")
    return Record(f"{folder}/{model}.json", SHAPE, schema=SCHEMA)


def count(entries: Iterable[Entry], model: str, slow_ms: float, counts: dict[str, dict[str, int]]) -> None:
    """Add the calls of a model to its counts."""
    for entry in entries:
        call = parsed(entry.message)
        if call is None or call.model != model:
            continue
        arm = counts[call.arm]
        arm["calls"] += 1
        arm["errors"] += call.is_error
        arm["slow"] += call.is_slow(slow_ms)


@dataclass(frozen=True)
class Source:
    """Where the lines come from. Each raises RuntimeError, in one sentence, where it cannot answer."""

    place: Callable[[], str]
    """Return the cursor of an entry that has just been written into the journal (journal.place)."""
    read: Callable[[str, str], Read]
    """Return what came after a cursor, up to such a place (journal.read)."""
    haproxy: Callable[[], Mapping[str, Any]]
    """Return the ``pid`` of HAProxy's worker, and how many lines it has ``dropped``; an empty pid if none answers."""


def haproxy(path: str) -> dict[str, Any]:
    """Return the worker that answers on the socket at ``path``, as Source.haproxy does."""
    try:
        told = runtime.info(runtime.ask(path, "show info"))
    except runtime.SocketError:
        return {"pid": "", "dropped": 0}
    pid, dropped = told.get("Pid", ""), told.get("DroppedLogs", "")
    if not log_socket.is_reached(pid):
        path = log_socket.PATH
        raise RuntimeError(f"its HAProxy has no {path} of the journal's in its chroot; restart haproxy.service")
    return {"pid": pid, "dropped": int(dropped) if dropped.isdecimal() else 0}


def counted(
    kept: Record, model: str, slow_ms: float, source: Source, generation: int, is_kept: bool = True
) -> dict[str, Any]:
    """Return the counts of both arms since the first call, and what is to be said about them.

    :param generation: that of the roll-out. Another one counts anew, from now on.
    :param is_kept: whether to write down what was counted, so that the next call goes on from it.

    ``gap`` says what is not in the counts, as the end of a sentence; ``behind`` that there is more to be read.
    """
    if not is_kept:
        state, gap, behind = _gone_on(*_last(kept, generation), model, slow_ms, source, "")
        return _answer(state, gap, behind)
    try:
        with _alone(kept.path):
            last, fault = _last(kept, generation)
            state, gap, behind = _gone_on(last, fault, model, slow_ms, source, source.place())
            if state != kept.found():
                kept.save(state)
    except OSError as error:
        raise WishError(kept.path, f"cannot be written ({error.strerror})", "make room on the host") from error
    return _answer(state, gap, behind)


def _answer(state: Mapping[str, Any], gap: str, behind: bool) -> dict[str, Any]:
    return {key: state[key] for key in ("process", *ARMS)} | {"gap": gap, "behind": behind}


def _gone_on(
    last: dict[str, Any], fault: str, model: str, slow_ms: float, source: Source, here: str
) -> tuple[dict[str, Any], str, bool]:
    """Return the state after the next part of the journal, what is missing, and whether there is more."""
    haproxy, cursor = dict(source.haproxy()), last["cursor"]
    found = source.read(cursor, here) if cursor else Read([], here)
    counts = {arm: dict(last[arm]) for arm in ARMS}
    count(found.entries, model, slow_ms, counts)
    gaps = [
        fault,
        found.gap,
        "was started anew, which may have cost lines of its journal" if has_booted(cursor, found.cursor) else "",
        _dropped(last["haproxy"], haproxy) if cursor else "",
    ]
    if not haproxy["pid"]:
        haproxy = last["haproxy"]
    return {**last, **counts, "cursor": found.cursor, "haproxy": haproxy}, "; ".join(filter(None, gaps)), found.behind


def _dropped(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what is lost of lines that HAProxy could not write: it never waits for a journald that is busy."""
    is_same = before["pid"] == after["pid"]
    lost = after["dropped"] - (before["dropped"] if is_same else 0)
    return f"has lost {lost:,} lines that HAProxy could not hand over, as journald was busy" if lost > 0 else ""


def _last(kept: Record, generation: int) -> tuple[dict[str, Any], str]:
    """Return what was counted until the last call; where that cannot be read, begin anew and say so."""
    try:
        found = kept.read()
        fault = ""
    except (OSError, WishError):
        found, fault = None, "has lost its counts, and begins anew"
    if found and found["generation"] == generation:
        return found, fault
    zero = {arm: dict.fromkeys(COUNTERS, 0) for arm in ARMS}
    begun = {"process": uuid.uuid4().hex, "generation": generation, "cursor": "", "haproxy": {"pid": "", "dropped": 0}}
    return {"schema": SCHEMA, **begun, **zero}, fault


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Keep others from counting meanwhile. Raises RuntimeError where another call still does, and OSError."""
    folders.make(os.path.dirname(path), 0o755)
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("the look before this one still reads the journal") from None
        yield
    finally:
        os.close(handle)
