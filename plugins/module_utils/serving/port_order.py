# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The order in which instances are brought up if one takes a port that another has to release first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

STOP, SERVE = "stop", "serve"


def steps(
    names: Sequence[str], held: Mapping[str, Collection[int]], wanted: Mapping[str, Collection[int]]
) -> Iterator[tuple[str, str]]:
    """Yield the next action and its instance: ``serve`` each of ``names`` once, ``stop`` one to break a cycle.

    ``held`` are the ports of the processes that will be replaced, ``wanted`` those of all instances. An instance whose
    ports others wait for precedes them, so that each is down only during its own start; only in cycles (two that swap)
    does one have to stop before its turn.
    """
    pending, holding = list(names), {name: set(ports) for name, ports in held.items()}
    while pending:
        ready = next((name for name in pending if not _blockers(name, pending, holding, wanted)), None)
        if ready is None:
            stopped = _on_ring(pending, holding, wanted)
            holding[stopped] = set()
            yield STOP, stopped
            continue
        pending.remove(ready)
        holding[ready] = set()
        yield SERVE, ready


def _blockers(
    name: str, pending: Sequence[str], holding: Mapping[str, Collection[int]], wanted: Mapping[str, Collection[int]]
) -> list[str]:
    ports = set(wanted.get(name, ()))
    return [other for other in pending if other != name and ports.intersection(holding.get(other, ()))]


def _on_ring(
    pending: Sequence[str], holding: Mapping[str, Collection[int]], wanted: Mapping[str, Collection[int]]
) -> str:
    """Return an instance that waits for itself through others; it exists: every pending one waits for another."""
    seen: list[str] = []
    name = pending[0]
    while name not in seen:
        seen.append(name)
        name = _blockers(name, pending, holding, wanted)[0]
    return name
