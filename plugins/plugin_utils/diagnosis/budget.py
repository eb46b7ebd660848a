# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a call goes: client = gateway + transport + overhead + queue + execution.

The server tells overhead, queue and execution by its histograms (server_time.py), HAProxy its own part, and a probe by
the load generator the whole. What nobody has measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .case import Case
from .instance import Instance
from .reading import mapping
from .server_time import ServerTime

PARTS = ("gateway", "transport", "overhead", "queue", "execution")
# The parts agree with the whole where no more than this is left over.
TOLERANCE = 0.1

Evidence = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """The mean time of calls to an instance by one entrypoint (GRPC or REST), in milliseconds.

    ``whole`` is that of ``seen_by``: the client where one was measured, else the gateway, else the server, whose parts
    alone are known then. ``via`` is the way of the client's calls: direct, or gateway.
    """

    instance: str
    entrypoint: str
    requests: int
    seen_by: str
    whole: float
    gateway: float | None
    transport: float | None
    overhead: float | None
    queue: float | None
    execution: float | None
    server_p99: tuple[float, float] | None = None
    via: str | None = None

    @property
    def parts(self) -> dict[str, float | None]:
        """Return the parts by name, in the order in which a call meets them."""
        return {name: getattr(self, name) for name in PARTS}

    @property
    def rest(self) -> float:
        """Return what the parts leave unexplained; negative where they are more than the whole."""
        return self.whole - sum(part for part in self.parts.values() if part is not None)

    @property
    def adds_up(self) -> bool:
        """Return whether the parts make up the whole."""
        return abs(self.rest) <= TOLERANCE * self.whole

    @property
    def text(self) -> str:
        """Return the budget as one line."""
        known = " + ".join(f"{name} {_ms(part)}" for name, part in self.parts.items() if part is not None)
        missing = [name for name, part in self.parts.items() if part is None]
        tail = f"; not measured: {', '.join(missing)}" if missing else ""
        left = f", unexplained {_ms(self.rest)} ({self.rest / self.whole:.0%})"
        way = {"direct": " (direct)", "gateway": " (through the gateway)"}.get(self.via or "", "")
        return f"{self.seen_by}{way} {_ms(self.whole)} ms = {known or 'nothing that is known'}{left}{tail}"


def _ms(value: float) -> str:
    return f"{0.0 if abs(value) < 0.005 else value:.{2 if abs(value) < 10 else 1}f}"


@dataclass(frozen=True)
class _Way:
    """What HAProxy tells of the way to a server, in milliseconds: its own part, and all of it."""

    own: float
    whole: float


def budgets(case: Case, instance: Instance) -> tuple[Budget, ...]:
    """Return the budgets of an instance, that of the entrypoint with the most time first; none without calls.

    What a probe measured is ``client`` of the case: ``mean_ms``, ``entrypoint`` (that with the most time, unless it is
    given), ``via`` ("gateway", or "direct", as without it), and where they are known ``network_ms``, a round trip of
    the network, and ``call_ms``, a call that asks nothing, which takes the libraries at both ends as well. Its
    ``gateway`` is the same of calls through the gateway, which makes a budget of its own.
    """
    servers, client = instance.times, mapping(case.client.get(instance.name)) or None
    order = sorted(servers, key=lambda name: -servers[name].requests * servers[name].request)
    way = _way(case.gateways, f"{case.host}.{instance.name}")
    probed = str((client or {}).get("entrypoint") or (order[0] if order else "")).upper()
    told = {name: _seen(client) if name == probed else [None] for name in order}
    return tuple(_budget(instance.name, name, servers[name], each, way) for name in order for each in told[name])


def _seen(client: Evidence | None) -> list[Evidence | None]:
    """Return what a client saw, by each of its ways."""
    beside = (client or {}).get("gateway") or {}
    return [client, {**beside, "via": "gateway"}] if beside.get("mean_ms") else [client]


def _budget(instance: str, entrypoint: str, server: ServerTime, client: Evidence | None, way: _Way | None) -> Budget:
    seen = (client or {}).get("mean_ms")
    is_direct = bool(seen) and (client or {}).get("via") != "gateway"
    seen_by, whole = ("client", float(seen)) if seen else ("gateway", way.whole) if way else ("server", server.request)
    gateway = 0.0 if is_direct else way.own if way else None
    told = client or {}
    network = (told.get("network_ms") if told.get("call_ms") is None else told["call_ms"]) if seen else None
    return Budget(
        instance,
        entrypoint,
        server.requests,
        seen_by,
        whole,
        gateway,
        _transport(whole, gateway or 0.0, server.request, network, seen_by),
        server.overhead,
        server.queue,
        server.execution,
        server.p99,
        ("direct" if is_direct else "gateway") if seen else None,
    )


def _transport(whole: float, gateway: float, server: float, network: float | None, seen_by: str) -> float | None:
    """Return the time on the network: the measured round trip, or what neither gateway nor server has had."""
    if network is not None:
        return float(network)
    # Less than nothing is no time on the network but a contradiction, which the rest shows.
    return None if seen_by == "server" else max(0.0, whole - gateway - server)


def _way(gateways: Iterable[Evidence], server: str) -> _Way | None:
    """Return the means of all gateways before a server, by the calls that each has sent it."""
    rows = [row for gateway in gateways for row in _rows(gateway, server)]
    calls = sum(count for count, _row in rows)
    if not calls:
        return None
    mean = {key: sum(count * float(row[key]) for count, row in rows) / calls for key in ("rtime", "ttime")}
    # HAProxy waits for a free place, connects, and hands on what was said; its times are whole milliseconds.
    return _Way(max(0.0, mean["ttime"] - mean["rtime"]), mean["ttime"])


def _rows(gateway: Evidence, server: str) -> Iterable[tuple[float, Mapping[str, Any]]]:
    stats: Sequence[Any] = (gateway.get("gateway") or {}).get("stats") or ()
    if len(stats) < 2:
        return
    for name, backend in (stats[-1].get("backends") or {}).items():
        last = (backend.get("servers") or {}).get(server)
        first = (((stats[0].get("backends") or {}).get(name) or {}).get("servers") or {}).get(server) or {}
        if last and all(isinstance(last.get(key), (int, float)) for key in ("rtime", "ttime")):
            yield max(0, last.get("stot", 0) - first.get("stot", 0)), last
