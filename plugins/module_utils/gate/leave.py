# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The order in which instances leave the traffic, as a sequence whose effects are handed in.

Close the gate; everybody who asks has heard of it; no call is in flight; refuse new connections; none has come in
between. Only then may a server stop. Each step is proven or, when time runs out, named as not proven: a stop must not
hang, and nobody should have to guess what it cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import pollers
from .config import Config, Instance
from .sockets import Socket

# After the last poll a gateway may still be handing over a call that it had decided on before.
SETTLING_S = 0.1
PAUSE_S = 0.1
# A gateway takes a host out by its own HTTP checks, two that fail, where the companion does not answer.
UNANSWERED_CHECKS_S = 3.0
_MOST_NAMED = 8


class Host(Protocol):
    """What the order needs of a host."""

    def now(self) -> float:
        """Return seconds of a steady clock."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def close(self, name: str) -> float:
        """Close the gate of an instance, and return for how many seconds it has been closed. Raises OSError."""

    def page(self) -> Mapping[str, Any] | None:
        """Return the companion's page; None if it does not answer."""

    def listens(self, port: int) -> bool:
        """Return whether a server takes connections on the port."""

    def established(self, ports: Sequence[int]) -> list[Socket]:
        """Return the connections of others to these ports. Raises RuntimeError."""

    def refuse(self, instance: Instance) -> None:
        """Refuse new connections to an instance. Raises RuntimeError, OSError."""


@dataclass(frozen=True)
class Left:
    """How an instance left the traffic: what was proven on the way, and what was not, each in words."""

    name: str
    proven: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    direct_callers: tuple[str, ...] = ()
    """Addresses that have connections to the server and never asked for its gate."""
    waited_s: float = 0.0


@dataclass
class _Leaving:
    """One instance on its way."""

    instance: Instance
    closed_at: float
    proven: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    direct: tuple[str, ...] = ()

    def left(self, waited_s: float) -> Left:
        return Left(
            self.instance.name, tuple(self.proven), tuple(self.unproven), self.direct, waited_s=round(waited_s, 2)
        )


def leave(instances: Sequence[Instance], config: Config, host: Host, refuse: bool = True) -> list[Left]:
    """Let instances leave side by side within ``drain_timeout_s``, and return how each did.

    :param refuse: whether new connections are refused in the end.
    """
    begun = host.now()
    end = begun + config.drain_timeout_s
    everybody = [_closed(instance, host) for instance in instances]
    page = host.page()
    going = [one for one in everybody if _has_to_wait(one, page, config, host)]
    if going:
        _look_at_callers(going, page, host)
        _tell(going, page, config, host, end)
        _await_idle(going, config, host, end, "no call was in flight")
        if refuse:
            refused = [one for one in going if _refused(one, host)]
            _await_idle(refused, config, host, end, "no call was in flight after new connections were refused")
    return [one.left(host.now() - begun) for one in everybody]


def _closed(instance: Instance, host: Host) -> _Leaving:
    try:
        closed_s = host.close(instance.name)
    except OSError as error:
        one = _Leaving(instance, host.now())
        one.unproven.append(f"the gate could not be closed ({error.strerror}); look at {error.filename}")
        return one
    return _Leaving(instance, host.now() - closed_s)


def _has_to_wait(one: _Leaving, page: Mapping[str, Any] | None, config: Config, host: Host) -> bool:
    """Return whether there is anything to wait for, and note why if there is not."""
    if not any(map(host.listens, one.instance.ports)):
        one.proven.append("the server takes no connections")
        return False
    if not config.gateways and (page is None or not pollers.asking(page, one.instance.name)):
        one.proven.append("no gateway is expected, and none asks for it")
        return False
    return True


def _look_at_callers(going: Sequence[_Leaving], page: Mapping[str, Any] | None, host: Host) -> None:
    if page is None:
        return  # then nobody is known, and everybody would look like a direct caller
    with suppress(RuntimeError):  # said below, where it matters
        for name, found in _connections(going, host).items():
            one = next(one for one in going if one.instance.name == name)
            one.direct = tuple(sorted({socket.peer for socket in found} - pollers.addresses(page, name)))


def _connections(going: Sequence[_Leaving], host: Host) -> dict[str, list[Socket]]:
    """Return the connections to each instance, by one look at the kernel. Raises RuntimeError."""
    found = host.established(sorted({port for one in going for port in one.instance.ports}))
    return {one.instance.name: [each for each in found if each.port in one.instance.ports] for one in going}


def _tell(
    going: Sequence[_Leaving], page: Mapping[str, Any] | None, config: Config, host: Host, end: float
) -> None:  # fmt: skip
    """Wait until everybody who asks has heard that the gates are closed."""
    missing: list[str] = []

    def told() -> bool:
        nonlocal page
        # The moment before the answer: ages in it are then never taken for younger than they are.
        before = host.now()
        page = host.page()
        missing[:] = [] if page is None else [
            pair
            for one in going
            for pair in pollers.untold(page, one.instance.name, before - one.closed_at)
        ]  # fmt: skip
        return not missing

    done = _awaited(told, host, end)
    if page is None:
        host.sleep(max(0.0, min(UNANSWERED_CHECKS_S, end - host.now())))
        for one in going:
            one.unproven.append(
                "nobody knows which gateways have seen the closed gate, as its companion does not answer"
            )
        return
    host.sleep(max(0.0, min(SETTLING_S, end - host.now())))
    silenced = pollers.silenced(page, config.gateways)
    for one in going:
        gone = [*silenced, *pollers.silent(page, one.instance.name)]
        late = [] if done else pollers.untold(page, one.instance.name, host.now() - one.closed_at)
        for names, words in ((gone, "do not ask for the gate"), (late, "have not seen the closed gate in time")):
            if names:
                one.unproven.append(f"{_listed(names)} {words}")
        if not gone and not late:
            one.proven.append("every gateway has seen the closed gate")


def _await_idle(going: Sequence[_Leaving], config: Config, host: Host, end: float, words: str) -> None:
    if not going:
        return
    busy: dict[str, list[Socket]] = {}

    def idle() -> bool:
        for name, found in _connections(going, host).items():
            busy[name] = [socket for socket in found if socket.busy(config.longest_call_s)]
        return not any(busy.values())

    try:
        _awaited(idle, host, end)
    except RuntimeError as error:
        for one in going:
            one.unproven.append(str(error))
        return
    for one in going:
        peers = sorted({socket.peer for socket in busy[one.instance.name]})
        if peers:
            one.unproven.append(f"calls of {_listed(peers)} may have been in flight when the time was over")
        else:
            one.proven.append(words)


def _refused(one: _Leaving, host: Host) -> bool:
    try:
        host.refuse(one.instance)
    except (RuntimeError, OSError) as error:
        one.unproven.append(str(error))
        return False
    one.proven.append("new connections are refused")
    return True


def _awaited(done: Callable[[], bool], host: Host, end: float) -> bool:
    """Look until it is done or time is over, and at least once."""
    while not done():
        if host.now() >= end:
            return False
        host.sleep(min(PAUSE_S, max(0.0, end - host.now())))
    return True


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
