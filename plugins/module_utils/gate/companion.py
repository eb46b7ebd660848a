# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The companion of a host's servers: one process that answers everybody who asks for their gates.

One loop over non-blocking sockets. Whoever connects gets little time and few bytes, and may neither hold up the others
nor take their places.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import answers
from .answers import Page, Poll
from .gates import Gates
from .pollers import Pollers

# For a question and its answer. A gateway's question fits into one packet and arrives with the connection.
CALL_S = 2.0
MOST_CALLS = 256
# The head of a request; HAProxy's has some hundred bytes, browsers send up to two thousand.
MOST_BYTES = 8192
# A question to the agent is one line of a few names, of which three are long.
MOST_LINE = 1024
# How often it looks around when nobody asks: for changes of the plan, and for those who went silent.
TICK_S = 1.0
_BACKLOG = 128


@dataclass
class Call:
    """One connection."""

    wire: socket.socket
    address: str
    end: float
    heard: bytes = b""
    answer: bytes | None = None


def listener(port: int) -> socket.socket:
    """Return a socket that listens on every address of the host, of both families where it has both. Raises OSError."""
    if socket.has_dualstack_ipv6():
        wire = socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    else:
        wire = socket.create_server(("", port), backlog=_BACKLOG)
    wire.setblocking(False)
    return wire


class Companion:
    """Answers on a listening socket, out of the gates."""

    def __init__(self, gates: Gates, wire: socket.socket, alive: Callable[[], None] = lambda: None) -> None:
        self.gates = gates
        self.pollers = Pollers(time.monotonic())
        self.wire = wire
        self.alive = alive
        self.selector = selectors.DefaultSelector()
        self.selector.register(wire, selectors.EVENT_READ)
        self.calls: dict[int, Call] = {}
        self.next_tick = 0.0

    def serve(self, port: int) -> None:
        """Answer as long as the plan has the gates on this port."""
        while self.gates.config.port == port:
            self.step()

    def step(self) -> None:
        """Wait for something to happen, and see to it."""
        now = time.monotonic()
        soonest = min((call.end for call in self.calls.values()), default=self.next_tick)
        for key, _events in self.selector.select(max(0.0, min(soonest, self.next_tick) - now)):
            if key.fileobj is self.wire:
                self._accept()
            elif key.fd in self.calls:
                self._go_on(self.calls[key.fd])
        self._tidy(time.monotonic())

    def _tidy(self, now: float) -> None:
        for call in [call for call in self.calls.values() if call.end <= now]:
            self._end(call)
        if now >= self.next_tick:
            self.next_tick = now + TICK_S
            self.gates.watch()
            self.pollers.forget(self.gates.config.gateways, now)
            self.alive()

    def _accept(self) -> None:
        try:
            wire, peer = self.wire.accept()
        except OSError:
            return  # it went away again, or there are no descriptors: those who have one end within seconds
        wire.setblocking(False)
        if len(self.calls) >= MOST_CALLS:
            # The oldest has had the most time to ask.
            self._end(next(iter(self.calls.values())))
        address = str(peer[0])
        mapped = address.startswith("::ffff:") and "." in address
        call = Call(wire, address.removeprefix("::ffff:") if mapped else address, time.monotonic() + CALL_S)
        self.calls[wire.fileno()] = call
        self.selector.register(wire, selectors.EVENT_READ)
        self._go_on(call)

    def _end(self, call: Call) -> None:
        del self.calls[call.wire.fileno()]
        self.selector.unregister(call.wire)
        call.wire.close()

    def _go_on(self, call: Call) -> None:
        try:
            if call.answer is None:
                self._hear(call)
            if call.answer is not None:
                self._say(call)
        except BlockingIOError:
            pass
        except OSError:
            self._end(call)

    def _hear(self, call: Call) -> None:
        chunk = call.wire.recv(MOST_BYTES + 1 - len(call.heard))
        call.heard += chunk
        call.answer = self._answer(call)
        if call.answer is None and (not chunk or len(call.heard) > MOST_BYTES):
            raise ConnectionError("it ended, or went on, without a question")

    def _say(self, call: Call) -> None:
        assert call.answer is not None
        sent = call.wire.send(call.answer)
        call.answer = call.answer[sent:]
        if call.answer:
            self.selector.modify(call.wire, selectors.EVENT_WRITE)
        else:
            self._end(call)

    def _answer(self, call: Call) -> bytes | None:
        """Return the answer as soon as the question is complete; an empty one to what is no question."""
        line, newline, rest = call.heard.partition(b"\n")
        if not newline:
            return b"" if len(line) > MOST_LINE else None
        text = line.rstrip(b"\r").decode("ascii", "replace")
        asked = answers.parsed(text)
        if isinstance(asked, Poll) and asked.by_agent:
            return self._polled(asked, call.address)
        if not answers.is_http(text):
            return b""
        # A connection that is closed before all of a head was read is reset, and the answer may be lost.
        ended = rest.startswith((b"\r\n", b"\n")) or b"\r\n\r\n" in rest or b"\n\n" in rest
        return self._page(asked, call.address, answers.wants_body(text)) if ended else None

    def _polled(self, poll: Poll, address: str) -> bytes:
        judgement = self.gates.judgement(poll.instance)
        self.pollers.told(poll, address, judgement.open, time.monotonic())
        return answers.agent(judgement)

    def _page(self, asked: Poll | Page | None, address: str, with_body: bool) -> bytes:
        if asked is None:
            return answers.http(400, b"this is no question for a gate\n", with_body=with_body)
        if isinstance(asked, Page):
            if asked.path not in ("/gate", "/gate/"):
                return answers.http(404, b"there are /gate and /gate/INSTANCE\n", with_body=with_body)
            content = json.dumps(self.page(), sort_keys=True).encode("ascii")
            return answers.http(200, content, "application/json", with_body)
        if asked.instance not in self.gates.config.instances:
            return answers.http(404, b"no such instance on this host\n", with_body=with_body)
        judgement = self.gates.judgement(asked.instance)
        self.pollers.told(asked, address, judgement.open, time.monotonic())
        return answers.http(*answers.page(judgement), with_body=with_body)

    def page(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "schema": 1,
            "instances": self.gates.page(),
            "expected": list(self.gates.config.gateways),
            "problem": self.gates.watched.problem,
            **self.pollers.page(time.monotonic()),
        }
