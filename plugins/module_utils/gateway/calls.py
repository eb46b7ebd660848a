# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The calls of a model's arms in a roll-out, counted from HAProxy's own log lines.

HAProxy's counters begin at 0 with every reload, know nothing of gRPC's status and nothing of slow calls. Its log has a
line for each call, of whichever of its processes. What callers send stands in it only encoded, so that no line can be
made to look like another field; lines that are not whole are left out.

No line is counted twice: where the place in the journal is lost, counting begins anew behind whatever there is.

As long as nobody has said from where on a call is slow, how late the old version answers is counted as well: from that
the edge is taken.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable

from ..disk import folders
from ..disk.record import Record
from ..errors import WishError
from ..load.histogram import Histogram
from ..models.names import MODEL_NAME
from . import log_socket, runtime
from .journal import Entry, Read, has_booted

# Beside the records of roll-outs, where no model's own file can be.
FOLDER = "/var/lib/tfserving-fleet/rollout/calls"
SCHEMA = 1
ARMS = ("canary", "control")
COUNTERS = ("calls", "errors", "slow", "golden_calls", "golden_errors")
# Beside the arms: calls of the old version that were not drawn. HAProxy writes no arm then.
STABLE = "stable"
_NO_ARM = "-"
# A call that HAProxy itself has refused, before it drew an arm: it says nothing about any version.
_NO_SERVER = "<NOSRV>"
# Whose latencies are counted: all of the old version.
OLD = ("control", STABLE)
# Calls that ask a model to compute. Others say nothing about a version.
PREDICTS = {
    "rest": frozenset({"predict", "classify", "regress"}),
    "grpc": frozenset({"Predict", "Classify", "Regress", "MultiInference"}),
}
# By the caller's own wish.
_CANCELLED = "1"
_FIELDS = ("protocol", "model", "call", "arm", "server", "status", "grpc", "end", "total_ms")
_BEGIN = "tfserving protocol="
_NUMBER = re.compile(r"-?[0-9]{1,10}")
# HAProxy's longest line by default is 1 KB; our longest fields, encoded, are below that.
_LONGEST = 8192
_MOST = 2**53
_US_A_MS = 1000


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


@dataclass
class Latencies:
    """How late calls were answered, and how many were not answered at all."""

    answered: Histogram = field(default_factory=Histogram)
    missing: int = 0

    def record(self, call: Call) -> None:
        """Count a call."""
        if call.is_answered:
            self.answered.record(call.total_ms * _US_A_MS)
        else:
            self.missing += 1

    def add(self, other: Latencies) -> None:
        """Count all calls of another one."""
        self.answered.add(other.answered)
        self.missing += other.missing

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; it has 3,287 buckets at the most."""
        return {"answered": self.answered.to_json(), "missing": self.missing}

    @classmethod
    def from_json(cls, value: Any) -> Latencies:
        """Return what ``to_json`` wrote. Raise ValueError on anything else."""
        if not isinstance(value, Mapping) or not _is_count(value.get("missing")):
            raise ValueError("latencies are a histogram and the number of calls without an answer")
        return cls(Histogram.from_json(value.get("answered")), value["missing"])


def _are_latencies(value: Any) -> bool:
    try:
        for each in OLD:
            Latencies.from_json(value[each])
    except (ValueError, KeyError, TypeError):
        return False
    return True


_COUNTS = dict.fromkeys(COUNTERS, _is_count)
SHAPE = {
    "schema": int,
    "generation": _is_count,
    "process": str,
    "cursor": str,
    "haproxy": {"pid": str, "dropped": int},
    **dict.fromkeys(ARMS, _COUNTS),
    "latencies?": _are_latencies,
}


@dataclass(frozen=True)
class Call:
    """One call as its line tells it. An error is the server's, or of no answer; ``total_ms`` is negative for none.

    ``arm`` is one of ARMS, or STABLE.
    """

    model: str
    arm: str
    is_error: bool
    total_ms: int
    is_answered: bool

    def is_slow(self, slow_ms: float) -> bool:
        """Return whether it was answered later than ``slow_ms``, or not at all; 0 for never."""
        return slow_ms > 0 and (not self.is_answered or self.total_ms > slow_ms)


def parsed(line: str) -> Call | None:
    """Return the call of a line of HAProxy's, or None for any other line and for calls that name a version."""
    if not line.startswith(_BEGIN) or len(line) > _LONGEST:
        return None
    found: dict[str, str] = {}
    for word in line.partition(" ")[2].split(" "):
        key, sign, value = word.partition("=")
        if not sign or key in found:
            return None
        found[key] = value
    if any(each not in found for each in _FIELDS) or not _arm(found):
        return None
    if found["call"] not in PREDICTS.get(found["protocol"], ()):
        return None
    if not (_NUMBER.fullmatch(found["status"]) and _NUMBER.fullmatch(found["total_ms"])):
        return None
    return _judged(found)


def _arm(found: Mapping[str, str]) -> str:
    """Return by which version a call was answered that named none; empty for any other call."""
    if found["arm"] == _NO_ARM and found["server"] != _NO_SERVER:
        return STABLE
    return found["arm"] if found["arm"] in ARMS else ""


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
        arm=_arm(found),
        is_error=not has_left and (is_refused or not is_whole),
        total_ms=int(found["total_ms"]),
        is_answered=is_whole and not has_left,
    )


def record(model: str, folder: str = FOLDER) -> Record:
    """Return the record of what was counted of a model. Raises WishError for a name that cannot be a file's."""
    if not MODEL_NAME.fullmatch(model):
        raise WishError("model", "cannot be a model", "use letters, digits, '_', '-' and '.'")
    return Record(f"{folder}/{model}.json", SHAPE, schema=SCHEMA)


def count(
    entries: Iterable[Entry],
    model: str,
    slow_ms: float,
    counts: Mapping[str, dict[str, int]],
    latencies: Mapping[str, Latencies],
) -> None:
    """Add the calls of a model to its counts, and to its latencies those of the arms that are there."""
    for entry in entries:
        call = parsed(entry.message)
        if call is None or call.model != model:
            continue
        if call.arm in latencies:
            latencies[call.arm].record(call)
        if call.arm not in counts:
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

    :param slow_ms: 0 as long as it is not known; then latencies of the old version are counted, else forgotten.
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
    shown = {"latencies": state.get("latencies", {}), "gap": gap, "behind": behind}
    return {key: state[key] for key in ("process", *ARMS)} | shown


def _gone_on(
    last: dict[str, Any], fault: str, model: str, slow_ms: float, source: Source, here: str
) -> tuple[dict[str, Any], str, bool]:
    """Return the state after the next part of the journal, what is missing, and whether there is more."""
    haproxy, cursor = dict(source.haproxy()), last["cursor"]
    found = source.read(cursor, here) if cursor else Read([], here)
    counts = {arm: dict(last[arm]) for arm in ARMS}
    known = last.get("latencies", {})
    latencies = {} if slow_ms else {arm: Latencies.from_json(known[arm]) if known else Latencies() for arm in OLD}
    count(found.entries, model, slow_ms, counts, latencies)
    gaps = [
        fault,
        found.gap,
        "was started anew, which may have cost lines of its journal" if has_booted(cursor, found.cursor) else "",
        _dropped(last["haproxy"], haproxy) if cursor else "",
    ]
    if not haproxy["pid"]:
        haproxy = last["haproxy"]
    state = {**last, **counts, "cursor": found.cursor, "haproxy": haproxy}
    state.pop("latencies", None)
    if latencies:
        state["latencies"] = {arm: each.to_json() for arm, each in latencies.items()}
    return state, "; ".join(filter(None, gaps)), found.behind


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
