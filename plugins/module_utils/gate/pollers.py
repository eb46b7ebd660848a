# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who asks for the gates: gateways by their names, other balancers by their addresses, and what they were told last.

The companion keeps a Pollers. Everybody else reads its page (``page``), in which moments are ages, because no two
processes share a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..disk import plain_files
from .answers import Poll

# A gateway asks twice a second; one that has been silent for longer may be anywhere.
SILENT_S = 3.0
# A balancer that is known by its address alone, and a gateway that the plan does not know, is forgotten after this.
FORGOTTEN_S = 10.0
# Balancers change their mind after two or three checks that say the same.
CHECKS = 3
# A single question is a person's.
MOST_ONCE = 1

# A fleet has a few gateways. Each asks for a host in some 400 backends before it has one stand for others, and in more
# where many models have versions that not every host has. Who asks under more names means no good.
MOST_GATEWAYS = 64
MOST_PAIRS = 1024

_AGE = (int, float, type(None))
_ASKED = {"agent_s": _AGE, "agent_open": bool, "http_s": _AGE, "opens": int, "closes": int}
_PAIR = {"instance": str, "address": str, **_ASKED}
PAGE = {
    "up_s": (int, float),
    "gateways": {str: {"generation": str, "pairs": {str: _PAIR}}},
    "others": {str: {str: _PAIR}},
}
"""The shape of the page."""


@dataclass
class Pair:
    """A gateway's server, which stands for one instance. Moments are seconds of a steady clock."""

    instance: str
    address: str = ""
    agent: float | None = None
    agent_open: bool = False
    http: float | None = None
    opens: int = 0
    """HTTP checks in a row that were answered with 200."""
    closes: int = 0
    """HTTP checks in a row that were answered otherwise."""

    @property
    def last(self) -> float:
        """Return the moment of the last question."""
        return max(-1.0 if moment is None else moment for moment in (self.agent, self.http))

    def told(self, by_agent: bool, is_open: bool, address: str, now: float) -> None:
        """Note an answer."""
        self.address = address
        if by_agent:
            self.agent, self.agent_open = now, is_open
        else:
            self.http = now
            self.opens, self.closes = (self.opens + 1, 0) if is_open else (0, self.closes + 1)

    def plain(self, now: float) -> dict[str, Any]:
        """Return it with ages."""
        ages = {"agent_s": _age(self.agent, now), "http_s": _age(self.http, now)}
        counts = {"opens": self.opens, "closes": self.closes, "agent_open": self.agent_open}
        return {"instance": self.instance, "address": self.address, **ages, **counts}


def _age(moment: float | None, now: float) -> float | None:
    return None if moment is None else round(now - moment, 3)


@dataclass
class Gateway:
    """One gateway: its pairs by backend and instance, as its configuration ``generation`` has them."""

    generation: str
    pairs: dict[tuple[str, str], Pair] = field(default_factory=dict)
    servers: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def last(self) -> float:
        """Return the moment of the last question."""
        return max((pair.last for pair in self.pairs.values()), default=-1.0)


class Pollers:
    """Everybody who asks."""

    def __init__(self, began: float = 0.0) -> None:
        self.began = began
        self.gateways: dict[str, Gateway] = {}
        self.others: dict[str, dict[str, Pair]] = {}

    def told(self, poll: Poll, address: str, is_open: bool, now: float) -> None:
        """Note that somebody asked from ``address`` and what the answer was."""
        if poll.gateway and poll.backend:
            pair = self._pair(poll, now)
        else:
            known = self.others.setdefault(address, {})
            _make_room(self.others, address, MOST_GATEWAYS, _last_of)
            pair = known.setdefault(poll.instance, Pair(poll.instance))
            _make_room(known, poll.instance, MOST_PAIRS, lambda one: one.last)
        pair.told(poll.by_agent, is_open, address, now)

    def _pair(self, poll: Poll, now: float) -> Pair:
        gateway = self.gateways.get(poll.gateway)
        if gateway is None or gateway.generation != poll.generation:
            # A worker that was reloaded away asks no more, so the generation that asks is the one in force.
            gateway = self.gateways[poll.gateway] = Gateway(poll.generation)
            _make_room(self.gateways, poll.gateway, MOST_GATEWAYS, lambda one: one.last)
        # The HTTP check of a backend is the same for all of its servers, so it cannot name one; the instance does.
        key = (poll.backend, poll.instance)
        if poll.server:
            gateway.servers[key] = poll.server
        pair = gateway.pairs.setdefault(key, Pair(poll.instance))
        _make_room(gateway.pairs, key, MOST_PAIRS, lambda one: one.last)
        return pair

    def forget(self, expected: Sequence[str], now: float) -> None:
        """Forget who has not asked for a while and whom nobody expects."""
        for name, gateway in list(self.gateways.items()):
            if name not in expected and now - gateway.last > FORGOTTEN_S:
                del self.gateways[name]
        for address, pairs in list(self.others.items()):
            for instance in [one for one, pair in pairs.items() if now - pair.last > FORGOTTEN_S]:
                del pairs[instance]
            if not pairs:
                del self.others[address]

    def page(self, now: float) -> dict[str, Any]:
        """Return everybody, with ages in seconds."""
        gateways = {
            name: {
                "generation": one.generation,
                "pairs": {
                    "/".join((key[0], one.servers.get(key, key[1]))): pair.plain(now) for key, pair in one.pairs.items()
                },
            }
            for name, one in self.gateways.items()
        }
        others = {
            address: {name: pair.plain(now) for name, pair in pairs.items()} for address, pairs in self.others.items()
        }
        return {"up_s": round(now - self.began, 3), "gateways": gateways, "others": others}


def _last_of(pairs: Mapping[str, Pair]) -> float:
    return max((pair.last for pair in pairs.values()), default=-1.0)


def _make_room(known: dict[Any, Any], newest: Any, most: int, last: Any) -> None:
    """Drop the one that has been silent longest if there are more than ``most``."""
    if len(known) > most:
        del known[min((key for key in known if key != newest), key=lambda key: last(known[key]))]


def is_page(value: Any) -> bool:
    """Return whether a value is a page of a companion."""
    return plain_files.fits(value, PAGE)


def silenced(page: Mapping[str, Any], expected: Sequence[str]) -> list[str]:
    """Return which expected gateways have asked and do so no more, in words: nobody knows what they do."""
    ages = {name: _silence_of(page, name) for name in expected}
    return [f"{name} (silent for {age:.0f} s)" for name, age in ages.items() if age is not None and age > SILENT_S]


def missing(page: Mapping[str, Any], expected: Sequence[str]) -> list[str]:
    """Return which expected gateways have never asked.

    A gateway that runs asks twice a second, and one that gets no answer sends no traffic. So a companion that has been
    up for longer than SILENT_S knows that these are new, or down.
    """
    return [name for name in expected if _silence_of(page, name) is None]


def _silence_of(page: Mapping[str, Any], gateway: str) -> float | None:
    return min(map(_silence, page["gateways"].get(gateway, {}).get("pairs", {}).values()), default=None)


def _silence(pair: Mapping[str, Any]) -> float:
    return float(min((age for age in (pair["agent_s"], pair["http_s"]) if age is not None), default=FORGOTTEN_S))


def asking(page: Mapping[str, Any], instance: str) -> dict[str, Mapping[str, Any]]:
    """Return the pairs that ask for an instance now, by words that name them."""
    return {name: pair for name, pair, patience_s in _pairs(page, instance) if _silence(pair) <= patience_s}


def silent(page: Mapping[str, Any], instance: str) -> list[str]:
    """Return the pairs that have asked for an instance and do so no more."""
    return [name for name, pair, patience_s in _pairs(page, instance) if _silence(pair) > patience_s]


def _pairs(page: Mapping[str, Any], instance: str) -> Iterator[tuple[str, Mapping[str, Any], float]]:
    """Yield the pairs of an instance, each with its name and the silence after which it counts as gone."""
    for gateway, known in page["gateways"].items():
        for name, pair in known["pairs"].items():
            if pair["instance"] == instance:
                yield f"{gateway} {name}", pair, SILENT_S
    for address, pairs in page["others"].items():
        pair = pairs.get(instance)
        if pair and pair["opens"] + pair["closes"] > MOST_ONCE:
            yield address, pair, FORGOTTEN_S


def untold(page: Mapping[str, Any], instance: str, since_s: float) -> list[str]:
    """Return the pairs that ask and have not heard yet that the gate was closed ``since_s`` seconds ago."""
    return [name for name, pair in asking(page, instance).items() if not _heard(pair, since_s)]


def _heard(pair: Mapping[str, Any], since_s: float) -> bool:
    if _is_recent(pair["agent_s"]):
        return not pair["agent_open"] and bool(pair["agent_s"] < since_s)
    return bool(pair["closes"] >= CHECKS)


def _is_recent(age: float | None) -> bool:
    # An operator may have disabled one of a server's checks.
    return age is not None and age <= SILENT_S


def not_back(page: Mapping[str, Any], instance: str) -> list[str]:
    """Return the pairs that ask and have not seen the open gate often enough to send traffic again."""
    return [name for name, pair in asking(page, instance).items() if not _is_back(pair)]


def _is_back(pair: Mapping[str, Any]) -> bool:
    if not _is_recent(pair["agent_s"]):
        return bool(pair["opens"] >= CHECKS)
    return pair["agent_open"] and (not _is_recent(pair["http_s"]) or bool(pair["opens"] >= CHECKS))


def addresses(page: Mapping[str, Any], instance: str) -> set[str]:
    """Return from where an instance's gate is asked for."""
    return {pair["address"] for _name, pair, _patience_s in _pairs(page, instance)}
