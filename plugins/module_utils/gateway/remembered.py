# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a cache of answers would save, or saves, counted from HAProxy's own log lines, which hold hashes and no bodies.

In shadow mode every call goes to a server. So each line tells how long the server took, whether an equal request came
before and when, and whether it got the same answer: what a cache would have kept is played over these lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import journal

# For how long answers might be kept, in seconds.
TTLS_S = (10, 60, 300, 3600)
# What a hit costs of a core on the gateway, in milliseconds (lab/bench/answer_cache.py).
HIT_MS = 0.03
# Requests that are told apart: some 200 bytes each.
MOST_KEYS = 1_000_000
MOST_BYTES = 512 << 20
MOST_S = 60.0
_BEGIN = "tfserving protocol=rest "
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_NONE = "-"


@dataclass(frozen=True)
class Call:
    """A call that a cache could have answered, or has; ``body`` and ``answer`` are hashes, empty for unknown."""

    at_s: float
    model: str
    key: str
    body: str
    answer: str
    status: int
    reply_ms: int
    out_bytes: int
    cache: str
    age_s: int


@dataclass
class Tally:
    """What was counted of a model."""

    calls: int = 0
    hashed: int = 0
    reply_ms: int = 0
    hits: dict[int, int] = field(default_factory=lambda: dict.fromkeys(TTLS_S, 0))
    saved_ms: dict[int, int] = field(default_factory=lambda: dict.fromkeys(TTLS_S, 0))
    repeated: int = 0
    other_answers: int = 0
    kept_bytes: int = 0
    cache: dict[str, int] = field(default_factory=lambda: {"hit": 0, "miss": 0, "": 0})
    miss_ms: int = 0
    age_s: int = 0
    oldest_s: int = 0


def parsed(line: bytes) -> Call | None:
    """Return the call of an entry of the journal as JSON, or None for what no cache could answer."""
    try:
        entry = json.loads(line)
        message, at_us = entry["MESSAGE"], int(entry["__REALTIME_TIMESTAMP"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(message, str) or not message.startswith(_BEGIN) or len(message) > journal.LONGEST:
        return None
    found = dict(word.partition("=")[::2] for word in message.split(" ")[1:])
    if found.get("pin", _NONE) == _NONE or not _NUMBER.fullmatch(found.get("status", "")):
        return None
    body = _value(found, "body")
    return Call(
        at_s=at_us / 1e6,
        model=found.get("model", ""),
        key="/".join((found.get("model", ""), found["pin"], found.get("call", ""), body)),
        body=body,
        answer=_value(found, "answer"),
        status=int(found["status"]),
        reply_ms=max(0, _whole(found, "reply_ms")),
        out_bytes=max(0, _whole(found, "out")),
        cache=_value(found, "cache"),
        age_s=max(0, _whole(found, "age")),
    )


def _value(found: Mapping[str, str], name: str) -> str:
    value = found.get(name, _NONE)
    return "" if value == _NONE else value


def _whole(found: Mapping[str, str], name: str) -> int:
    return int(found[name]) if _NUMBER.fullmatch(found.get(name, "")) else 0


class Play:
    """Plays caches of several times to live over calls, in the order of time."""

    def __init__(self) -> None:
        self.models: dict[str, Tally] = {}
        self.is_full = False
        self._filled: dict[str, dict[int, float]] = {}
        self._answers: dict[str, str] = {}

    def take(self, call: Call) -> None:
        """Count one call."""
        tally = self.models.setdefault(call.model, Tally())
        tally.calls += 1
        if call.cache in ("hit", "miss"):
            _served(tally, call)
        else:
            tally.cache[""] += 1
        if call.body and call.status == 200:
            self._shadowed(tally, call)

    def _shadowed(self, tally: Tally, call: Call) -> None:
        tally.hashed += 1
        tally.reply_ms += call.reply_ms
        filled = self._filled.get(call.key)
        if filled is None:
            if len(self._filled) == MOST_KEYS:
                self.is_full = True
                return
            self._filled[call.key] = dict.fromkeys(TTLS_S, call.at_s)
            self._answers[call.key] = call.answer
            tally.kept_bytes += call.out_bytes
            return
        tally.repeated += 1
        tally.other_answers += bool(call.answer and self._answers[call.key] not in ("", call.answer))
        for ttl in TTLS_S:
            if call.at_s - filled[ttl] <= ttl:
                tally.hits[ttl] += 1
                tally.saved_ms[ttl] += call.reply_ms
            else:
                filled[ttl] = call.at_s


def _served(tally: Tally, call: Call) -> None:
    tally.cache[call.cache] += 1
    if call.cache == "hit":
        tally.age_s += call.age_s
        tally.oldest_s = max(tally.oldest_s, call.age_s)
    else:
        tally.miss_ms += call.reply_ms


def played(lines: Iterable[bytes]) -> Play:
    """Return what all lines tell."""
    play = Play()
    for line in lines:
        call = parsed(line)
        if call:
            play.take(call)
    return play


def lines(hours: int, unit: str = journal.UNIT) -> journal.Lines:
    """Return the entries of HAProxy of the last hours."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE"]
    return journal.Lines([*command, f"--since=-{hours}h", f"_SYSTEMD_UNIT={unit}"], MOST_BYTES, MOST_S)


def figures(play: Play) -> dict[str, dict[str, Any]]:
    """Return the counts of each model as plain data."""
    return {
        name: {
            "calls": tally.calls,
            "hashed": tally.hashed,
            "repeated": tally.repeated,
            "other_answers": tally.other_answers,
            "kept_bytes": tally.kept_bytes,
            "hits": {str(ttl): tally.hits[ttl] for ttl in TTLS_S},
            "saved_ms": {str(ttl): tally.saved_ms[ttl] for ttl in TTLS_S},
            "served": {"hit": tally.cache["hit"], "miss": tally.cache["miss"], "passed": tally.cache[""]},
            "served_saved_ms": _saved(tally),
            "mean_age_s": tally.age_s / tally.cache["hit"] if tally.cache["hit"] else 0.0,
            "oldest_s": tally.oldest_s,
        }
        for name, tally in sorted(play.models.items())
    }


def _saved(tally: Tally) -> float:
    """Return the servers' time that hits have saved: that of a miss for each."""
    misses = tally.cache["miss"]
    return tally.cache["hit"] * (tally.miss_ms / misses - HIT_MS) if misses else 0.0


def sentences(play: Play, hours: int, is_cut: bool) -> list[str]:
    """Return what a person wants to know of each model, in sentences."""
    found = [text for name, tally in sorted(play.models.items()) for text in _of_model(name, tally, hours)]
    if play.is_full or is_cut:
        found.append("not all calls of this time were counted, as there were too many: ask for fewer hours")
    return found or [f"no call of the last {hours} h could be remembered: no model has a cache, or nobody has called"]


def _of_model(name: str, tally: Tally, hours: int) -> Iterator[str]:
    if tally.hashed:
        yield from _predicted(name, tally, hours)
    answered = tally.cache["hit"] + tally.cache["miss"]
    if answered:
        yield (
            f"{name}: the cache answered {tally.cache['hit']:,} of {answered:,} calls"
            f" ({tally.cache['hit'] / answered:.0%}) in {hours} h, {_mean_age(tally)}, and saved"
            f" {_saved(tally) / 1000:,.1f} s of the servers' time; {tally.cache['']:,} calls passed it"
        )


def _mean_age(tally: Tally) -> str:
    hits = tally.cache["hit"]
    return f"answers {tally.age_s / hits:.0f} s old on average and {tally.oldest_s} s at most" if hits else "none"


def _predicted(name: str, tally: Tally, hours: int) -> Iterator[str]:
    unhashed = tally.calls - tally.hashed
    left_out = f"; {unhashed:,} more were above 12 KiB, which shadow mode does not hash, or failed" if unhashed else ""
    yield (
        f"{name}: {tally.hashed:,} calls in {hours} h, {tally.repeated:,} of them equal to an earlier one;"
        f" their different answers have {tally.kept_bytes / 1e6:.1f} MB{left_out}"
    )
    for ttl in TTLS_S:
        hits = tally.hits[ttl]
        gain_ms = tally.saved_ms[ttl] - hits * HIT_MS
        yield (
            f"{name}: with ttl_s {ttl} a cache would have answered {hits / tally.hashed:.0%} of them and saved"
            f" {gain_ms / 1000:,.1f} s of {tally.reply_ms / 1000:,.1f} s of the servers' time"
        )
    if tally.other_answers:
        yield (
            f"{name}: {tally.other_answers:,} of {tally.repeated:,} repeated requests got another answer than before:"
            " the model draws lots or has a state, or batches change its last digits; remember none until you know"
        )
