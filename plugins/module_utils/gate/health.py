# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a server has proven itself since its start, and serves now, by the states of its models' versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from ..serving import bounded_http
from ..visible_text import told

AVAILABLE, UNKNOWN = "AVAILABLE", "not known to the server"

# A look costs the server next to nothing; an opened gate is at most this late.
INTERVAL_S = 1.0
# A status is read from a map within milliseconds, but waits behind predictions where the REST queue is full.
LOOK_S = 2.0
# A look that is older than this says nothing any more: two slow looks and the pauses between them fit in.
OLDEST_S = 5.0
# One failed look may be a reload of the server's configuration, or a full queue.
FAILED_LOOKS = 2

_MOST_CHARACTERS = 100


@dataclass(frozen=True)
class Look:
    """One look at a server, at ``at`` seconds of a steady clock: why it failed, or each model's versions."""

    at: float
    problem: str = ""
    states: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """What looks at one process have shown. ``at`` is the last look, ``states`` are of the last that did not fail."""

    invocation: str = ""
    at: float | None = None
    failed: int = 0
    problem: str = ""
    states: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    seen: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Versions of each model that have been available at some time."""
    proven: frozenset[str] = frozenset()
    """Models that this process has to keep available: all, once it is whole, and those that joined it since."""
    whole: bool = False
    """Whether all models have been proven, so that the gate could open once."""


def after(health: Health, look: Look, invocation: str, models: Mapping[str, frozenset[int]]) -> Health:
    """Return what is known after one more look at the process ``invocation`` that is to serve ``models``."""
    if health.invocation != invocation:
        health = Health(invocation)
    if look.problem:
        return replace(health, at=look.at, failed=health.failed + 1, problem=look.problem)
    seen = {name: health.seen.get(name, frozenset()) | _available(look.states.get(name, {})) for name in models}
    # In a server that serves, a version to come closes nothing: the one before it stays until it is there.
    proven = {name for name, wanted in models.items() if seen[name] and (health.whole or wanted <= seen[name])}
    return Health(
        invocation,
        at=look.at,
        states=look.states,
        seen=seen,
        proven=frozenset(proven | (health.proven & set(models))),
        whole=health.whole or proven >= set(models),
    )


def _available(states: Mapping[int, str]) -> frozenset[int]:
    return frozenset(version for version, state in states.items() if state == AVAILABLE)


def problem(health: Health, invocation: str, models: Mapping[str, frozenset[int]], now: float) -> str:
    """Return why the process ``invocation`` does not serve its models at ``now``, or an empty text."""
    if health.invocation != invocation or health.at is None:
        return "not looked at yet"
    if now - health.at > OLDEST_S:
        return f"not looked at for {now - health.at:.0f} s"
    if health.failed >= FAILED_LOOKS or (health.failed and not health.states):
        return health.problem
    return next(filter(None, (_lack(health, name, wanted) for name, wanted in models.items())), "")


def _lack(health: Health, name: str, wanted: frozenset[int]) -> str:
    states = health.states.get(name, {})
    if health.whole and name not in health.proven:
        return ""  # it joined a server that serves, and is still to come
    if name in health.proven:
        return "" if _available(states) else f"model {name} has no available version"
    waiting = sorted(wanted - health.seen.get(name, frozenset()))
    if waiting:
        return f"model {name} version {waiting[0]} is {states.get(waiting[0], UNKNOWN)}"
    return f"model {name} has no available version"


def look(port: int, models: Sequence[str], now: float) -> Look:
    """Ask the server on ``port`` for the versions of each model; the first improper answer ends the look."""
    states = {}
    for model in models:
        try:
            states[model] = _versions(port, model)
        except bounded_http.ExchangeError as error:
            return Look(now, told(f"the server {error}", _MOST_CHARACTERS))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Look(now, "the server answers with something else than the status of a model")
    return Look(now, states=states)


def _versions(port: int, model: str) -> dict[int, str]:
    path = f"/v1/models/{quote(model, safe='')}"
    headers = {"User-Agent": "tfserving-gate"}
    code, raw = bounded_http.exchange(port, "GET", path, headers, LOOK_S, bounded_http.MOST_STATUS_BYTES)
    answer: Any = bounded_http.parsed(raw)
    if code == 404 and "error" in answer:
        return {}
    if code != 200:
        raise bounded_http.ExchangeError(f"answers {code} ({answer['error']})")
    return {int(entry["version"]): told(str(entry["state"]), 20) for entry in answer["model_version_status"]}
