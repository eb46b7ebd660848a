# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the parts of a run as processes of ansible-playbook, answers their questions, and ends them in order.

One thread, which waits for messages, for signals and for the end of processes alike. Processes are in sessions of their
own, so that an interrupt at the terminal reaches the conductor alone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..fleet import run_holder
from ..fleet.hosts import named
from . import codes, show, wire
from .member import SOCKET, Member
from .referee import Referee

# As in lifeline.py.
AGAIN_S = 5.0
MOST = 12
# The answer to one question, to a process that waits for it.
_SEND_S = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
INTERRUPTED = "it was interrupted"


@dataclass(frozen=True)
class Part:
    """A process of ansible-playbook; number 0 is one that is not sliced."""

    number: int
    label: str
    command: Sequence[str]
    log: Path
    hosts: Sequence[str]


@dataclass
class Child:
    """A part that runs."""

    part: Part
    process: subprocess.Popen[bytes]
    interrupts: int = 0


@dataclass(eq=False)
class Peer:
    """A connection of a part."""

    connection: socket.socket
    lines: wire.Lines = field(default_factory=wire.Lines)
    number: int | None = None


@dataclass
class Ended:
    """What has become of the parts."""

    codes: dict[int, int] = field(default_factory=dict)
    stats: list[Mapping[str, Mapping[str, int]]] = field(default_factory=list)
    fatal: list[tuple[int, str, str]] = field(default_factory=list)
    """Slice, host and message, in the order of their coming."""


class Conductor:
    """The runner's end of the socket, the pipe that every part holds, and the signals.

    :param folder: of the run, for nobody else.
    :param say: prints a line.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], environment: Mapping[str, str]) -> None:
        self._say = say
        self._environment = dict(environment)
        self._folder = folder
        self._began = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, Child] = {}
        self._referee = Referee({}, {}, [1], "")
        self._next_kick = 0.0
        self._total = 0
        self.interrupts = 0
        self.ended = Ended()

    @contextlib.contextmanager
    def open(self) -> Iterator[Conductor]:
        """Listen, and take the signals, until all is over."""
        with contextlib.ExitStack() as stack:
            reading, writing = os.pipe()
            stack.callback(os.close, writing)
            stack.callback(os.close, reading)
            self._lifeline = reading
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(self._folder / SOCKET))
            listening.listen(128)
            self._selector.register(listening, selectors.EVENT_READ, self._accept)
            stack.enter_context(self._signals())
            yield self

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        heard, told = socket.socketpair()
        heard.setblocking(False)
        told.setblocking(False)
        self._selector.register(heard, selectors.EVENT_READ, self._signalled)
        before = {each: signal.signal(each, lambda *_: None) for each in _SIGNALS}
        waking = signal.set_wakeup_fd(told.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(waking)
            for each, handler in before.items():
                signal.signal(each, handler)
            heard.close()
            told.close()

    # A set of parts

    def run(self, parts: Sequence[Part], referee: Referee, total: int) -> dict[int, int]:
        """Run parts side by side to their ends; return their exit codes."""
        self._referee, self._total = referee, total
        for part in parts:
            self._start(part)
        while self._children:
            self._wait(0.5 if self.interrupts else None)
            self._reap()
            self._kick()
        found = self.ended.codes
        return {part.number: found[part.number] for part in parts}

    def _start(self, part: Part) -> None:
        if self.interrupts:
            self.ended.codes[part.number] = codes.INTERRUPTED
            return
        pid = os.getpid()
        me = Member(part.number, pid, run_holder.started(pid), str(self._folder), self._lifeline)
        with open(part.log, "ab") as log:
            process = subprocess.Popen(
                list(part.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self._environment, **me.environment()},
                pass_fds=(self._lifeline,),
                start_new_session=True,
            )
        self._children[part.number] = Child(part, process)

    def _wait(self, seconds: float | None) -> bool:
        """Handle what has come; tell whether anything has."""
        found = self._selector.select(seconds)
        for key, _events in found:
            key.data(key.fileobj)
        return bool(found)

    def _reap(self) -> None:
        for number, child in list(self._children.items()):
            code = child.process.poll()
            if code is None:
                continue
            # What it has said last is still to be read.
            while self._wait(0):
                pass
            del self._children[number]
            self.ended.codes[number] = code
            if number:
                self._send(self._referee.ended(number, self._why(number, child, code)))

    def _why(self, number: int, child: Child, code: int) -> str:
        if not code:
            return ""
        fatal = [f"{host}: {message}" for each, host, message in self.ended.fatal if each == number]
        told = fatal[0].strip().splitlines()[0] if fatal else f"it has ended with {code}"
        return f"{child.part.label} has failed ({told})"

    # Messages

    def _accept(self, listening: socket.socket) -> None:
        connection, _address = listening.accept()
        connection.settimeout(_SEND_S)
        peer = Peer(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda _file: self._read(peer))

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.connection.recv(1 << 16)
            messages = peer.lines.take(data) if data else []
        except (OSError, ValueError):
            data, messages = b"", []
        for message in messages:
            self._heard(peer, message)
        if not data:
            self._close(peer)

    def _close(self, peer: Peer) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(peer.connection)
        peer.connection.close()
        self._referee.withdrawn(peer)

    def _heard(self, peer: Peer, message: Mapping[str, Any]) -> None:
        if peer.number is None:
            number = message.get("slice")
            peer.number = number if isinstance(number, int) and number in self._children else -1
        elif peer.number < 0:
            self._close(peer)
        elif "ask" in message:
            self._asked(peer, peer.number, message)
        else:
            self._event(peer.number, message)

    def _asked(self, peer: Peer, number: int, message: Mapping[str, Any]) -> None:
        proven = self._referee.turns.batch(number) if message["ask"] == "give" else None
        answers = self._referee.ask(peer, number, message)
        if proven:
            self._say(self._turn(number, proven.hosts, True))
        self._send(answers)

    def _send(self, answers: Sequence[tuple[Peer, Mapping[str, Any]]]) -> None:
        for peer, answer in answers:
            if "leaving" in answer and peer.number is not None:
                batch = self._referee.turns.batch(peer.number)
                self._say(self._turn(peer.number, batch.hosts if batch else (), False))
            with contextlib.suppress(OSError):
                peer.connection.sendall(wire.packed(answer))

    def _event(self, number: int, event: Mapping[str, Any]) -> None:
        if number not in self._children:
            return
        if event.get("event") == "fatal":
            self.ended.fatal.append((number, str(event.get("host")), str(event.get("message"))))
            if number:
                self._referee.doubt(number)
        if event.get("event") == "stats":
            self.ended.stats.append(event.get("hosts") or {})
        text = show.event_line(self._seconds, self._children[number].part.label, event)
        if text:
            self._say(text)

    def _turn(self, number: int, hosts: Sequence[str], ended: bool) -> str:
        done, label = len(self._referee.turns.done), self._children[number].part.label
        return show.turn_line(self._seconds, label, ended, hosts, done, self._total)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    # Interrupts

    def _signalled(self, heard: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            numbers = heard.recv(4096)
            self.interrupts += sum(number != signal.SIGCHLD for number in numbers)
            if any(number != signal.SIGCHLD for number in numbers):
                self._interrupted()

    def _interrupted(self) -> None:
        self._send(self._referee.stop(INTERRUPTED))
        held = self._referee.turns.held()
        if held and self.interrupts == 1:
            self._say(f"Interrupted: {named(held)} to be proven first, and no other begins; once more ends it now.")
        self._next_kick = 0.0

    def _kick(self) -> None:
        """Interrupt what may end now, again and again; see lifeline.py."""
        if not self.interrupts or time.monotonic() < self._next_kick:
            return
        self._next_kick = time.monotonic() + AGAIN_S
        for number, child in self._children.items():
            if self.interrupts == 1 and self._referee.turns.holds(number):
                continue
            child.interrupts += 1
            with contextlib.suppress(ProcessLookupError):
                if child.interrupts > MOST:
                    os.killpg(child.process.pid, signal.SIGKILL)
                else:
                    child.process.send_signal(signal.SIGINT)
