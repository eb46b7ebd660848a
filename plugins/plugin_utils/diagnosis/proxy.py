# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy of a gateway: what it counted between the samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .case import Case
from .reading import at, growth, listed, mapping, number, ratio, text

Tree = Mapping[str, Any]


class Proxy:
    """Two looks at HAProxy's counters; figures are None where they could not be read."""

    def __init__(self, gateway: Tree) -> None:
        looks = [mapping(each) for each in listed(gateway.get("stats"))]
        self.first, self.last = (looks[0], looks[-1]) if len(looks) >= 2 else ({}, {})
        if self._is_another:
            # A reload is another process, which counts from nothing.
            self.first = {}

    @property
    def _is_another(self) -> bool:
        before, after = (number(at(each, "info", "Uptime_sec")) for each in (self.first, self.last))
        return before is not None and after is not None and after < before

    @property
    def known(self) -> bool:
        """Tell whether it could be read twice."""
        return bool(self.last)

    @property
    def window_s(self) -> float | None:
        """Return the time between the looks."""
        return growth(self.first.get("at"), self.last.get("at")) or None

    def grown(self, *path: str) -> float | None:
        """Return the growth of a counter."""
        return growth(at(self.first, *path), at(self.last, *path))

    def per_second(self, *path: str) -> float | None:
        """Return the growth of a counter for each second."""
        return ratio(self.grown(*path), self.window_s)

    def latest(self, *path: str) -> float | None:
        """Return a figure of the last look."""
        return number(at(self.last, *path))

    @property
    def idle(self) -> float | None:
        """Return the part of the time in which it had nothing to do."""
        percent = self.latest("info", "Idle_pct")
        return None if percent is None else percent / 100

    @property
    def calls_per_s(self) -> float | None:
        """Return the calls a second of all callers."""
        return self.per_second("info", "CumReq")

    @cached_property
    def backends(self) -> tuple[str, ...]:
        """Return the names of its backends."""
        return tuple(mapping(self.last.get("backends")))

    def servers(self, backend: str) -> tuple[str, ...]:
        """Return the servers of a backend that take calls."""
        rows = mapping(at(self.last, "backends", backend, "servers"))
        return tuple(name for name, each in rows.items() if text(mapping(each).get("status")).startswith("UP"))

    def steady(self, backend: str) -> tuple[str, ...]:
        """Return the servers of a backend that took calls all the time between the looks, with one weight."""
        return tuple(name for name in self.servers(backend) if self._is_steady(backend, name))

    def _is_steady(self, backend: str, server: str) -> bool:
        first, last = (mapping(at(look, "backends", backend, "servers", server)) for look in (self.first, self.last))
        changed = number(last.get("lastchg"))
        is_older = changed is None or changed >= (self.window_s or 0.0)
        return is_older and text(first.get("status")).startswith("UP") and first.get("weight") == last.get("weight")

    def calls(self, backend: str) -> dict[str, float]:
        """Return the calls that each server of a backend got."""
        return {name: self.grown("backends", backend, "servers", name, "stot") or 0.0 for name in self.servers(backend)}

    def weights(self, backend: str) -> dict[str, float]:
        """Return the weight of each server of a backend."""
        return {
            name: self.latest("backends", backend, "servers", name, "weight") or 0.0 for name in self.servers(backend)
        }

    @property
    def queued(self) -> float:
        """Return the calls that wait for a server."""
        return sum(self.latest("backends", name, "qcur") or 0.0 for name in self.backends)

    @property
    def wait_ms(self) -> float | None:
        """Return the longest mean time that the calls of a backend waited for a server."""
        waits = [self.latest("backends", name, "qtime") for name in self.backends]
        return max((each for each in waits if each is not None), default=None)


def proxy_of(case: Case) -> Proxy | None:
    """Return the HAProxy of a host, None where it is no gateway."""
    gateway = case.evidence.get("gateway")
    return Proxy(gateway) if isinstance(gateway, Mapping) else None
