# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Proves by real calls that the installed HAProxy, with the gateway's settings, loses no gRPC reply.

HAProxy before the end of 2023, Debian 12's 2.6.12 among them, closes a connection to a server when trailers arrive
while its buffer is full (haproxy#2388). It takes concurrent calls with replies of 12 KB and more on one connection to
see that, so a single call proves nothing. The probe starts a throw-away HAProxy between a client and a server of its
own, on UNIX sockets in a private directory: the gateway's ports and processes are not touched.
"""

from __future__ import annotations

import os
import pwd
import re
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import WishError
from ..visible_text import visible
from .wire import HAS_H2, MISSING, Wire

with suppress(ImportError):  # the caller looks at HAS_H2
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        RequestReceived,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
    )

PARALLEL = 16
# HAProxy's buffer in bytes, unless tune.bufsize says otherwise. Replies of all sizes around it are asked for: those of
# one size may all arrive, and a larger buffer only moves the sizes that are lost.
BUFFER = 16384
_STEPS = 131
# A HAProxy that answers nothing at all is found sooner than one that is only slow.
START_S = 10.0
STILL_S = 10.0
_WORDS = 2000
_TUNE = re.compile(r"tune\.[a-z0-9.-]{1,60} [A-Za-z0-9.,-]{1,40}")
_SIZE = b"probe-size"

CONFIG = """\
global
    maxconn 200
{tune}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend probe
    bind unix@{folder}/front.sock proto h2
    default_backend probe
backend probe
    server probe unix@{folder}/back.sock proto h2
"""


class ProbeError(RuntimeError):
    """The probe could not be run, which says nothing about HAProxy; one sentence."""


@dataclass(frozen=True)
class Outcome:
    """``calls`` were made, ``lost`` of them got no whole reply; ``words`` is how the first of these failed."""

    version: str
    calls: int
    lost: int
    seconds: float
    words: str


def check_tune(lines: Sequence[str], path: str = "tune") -> None:
    """Refuse lines that are no settings of HAProxy's buffers and protocols; raises WishError."""
    for number, line in enumerate(lines):
        if not _TUNE.fullmatch(line):
            raise WishError(f"{path}[{number}]", "is not a setting of HAProxy", "write it as 'tune.NAME VALUE'")


def sizes(tune: Sequence[str]) -> list[int]:
    """Return the sizes of the replies in bytes, from three quarters of HAProxy's buffer to five quarters."""
    given = [line.partition(" ")[2] for line in tune if line.startswith("tune.bufsize ")]
    buffer = int(given[-1]) if given and given[-1].isdigit() else BUFFER
    return [buffer * 3 // 4 + buffer * step // (2 * _STEPS) for step in range(_STEPS)]


def version(binary: str) -> str:
    """Return the version of an HAProxy binary, such as ``2.6.12-1+deb12u4``. Raises ProbeError."""
    try:
        ended = subprocess.run([binary, "-v"], capture_output=True, timeout=START_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProbeError(f"{binary} -v does not answer ({_reason(error)})") from error
    found = re.match(rb"HA-?Proxy version ([0-9A-Za-z.+~:-]{1,60})", ended.stdout)
    if not found:
        raise ProbeError(f"{binary} -v names no version ({_said(ended.stderr or ended.stdout)})")
    return found[1].decode()


def probe(binary: str, tune: Sequence[str], calls: int, seconds: float) -> Outcome:
    """Send ``calls`` calls through an HAProxy with the settings ``tune``; what has no reply in time counts as lost.

    Raises WishError for settings that are none, ProbeError if no call could be made.
    """
    check_tune(tune)
    if not HAS_H2:
        raise ProbeError(MISSING)
    found = version(binary)
    folder = Path(tempfile.mkdtemp(prefix="tfserving-probe-"))
    try:
        with _Server(str(folder / "back.sock")) as server:
            haproxy = _start(binary, folder, tune, seconds)
            try:
                _await(haproxy, folder)
                began = time.monotonic()
                client = _Client(str(folder / "front.sock"), calls, sizes(tune), server.selector)
                _exchange(client, server, began + seconds)
                return Outcome(found, calls, client.lost, round(time.monotonic() - began, 3), client.words)
            finally:
                _end(haproxy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(binary: str, folder: Path, tune: Sequence[str], seconds: float) -> subprocess.Popen[bytes]:
    settings = "\n".join(f"    {line}" for line in tune)
    (folder / "haproxy.cfg").write_text(CONFIG.format(tune=settings, folder=folder), encoding="utf-8")
    # Should this process be killed, timeout(1) ends HAProxy.
    limit = str(int(seconds + START_S + STILL_S))
    arguments = ["timeout", "--kill-after=5", limit, binary, "-db", "-f", str(folder / "haproxy.cfg")]
    with (folder / "log").open("wb") as log:
        try:
            return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_account(folder))
        except OSError as error:
            raise ProbeError(f"timeout (coreutils) cannot be started ({_reason(error)})") from error


def _account(folder: Path) -> dict[str, Any]:
    """Return who runs HAProxy: its own account where this process is root, and the directory belongs to it."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("haproxy")
    except KeyError:
        return {}
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _await(haproxy: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until HAProxy listens. Raises ProbeError with its words if it ends instead."""
    limit = time.monotonic() + START_S
    while time.monotonic() < limit:
        if haproxy.poll() is not None:
            raise ProbeError(f"HAProxy does not start for the probe ({_said((folder / 'log').read_bytes())})")
        with suppress(OSError):
            _connected(str(folder / "front.sock")).close()
            return
        time.sleep(0.02)
    raise ProbeError(f"HAProxy does not listen for the probe within {START_S:.0f} s")


def _end(haproxy: subprocess.Popen[bytes]) -> None:
    haproxy.terminate()
    try:
        haproxy.wait(START_S)
    except subprocess.TimeoutExpired:
        haproxy.kill()
        haproxy.wait()


def _connected(path: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(START_S)
        found.connect(path)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


def _said(output: bytes) -> str:
    return visible(" ".join(output[:_WORDS].decode(errors="replace").split())) or "without a word"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _exchange(client: _Client, server: _Server, deadline: float) -> None:
    """Let client and server talk until all calls have ended, or time has run out."""
    moved = time.monotonic()
    while client.left:
        ready = server.selector.select(0.2)
        now = time.monotonic()
        moved = now if ready else moved
        for key, _mask in ready:
            key.data.ready()
        if now > deadline or now - moved > STILL_S:
            client.give_up("no reply in time")


class _Server:
    """The model server's stand-in: answers each call with as many bytes as it asks for, and trailers."""

    def __init__(self, path: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.wires: list[_ServerWire] = []
        self.listener.bind(path)
        # HAProxy may run under an account of its own; the directory keeps others out.
        os.chmod(path, 0o666)
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_error: object) -> None:
        for wire in self.wires:
            wire.close()
        self.listener.close()
        self.selector.close()

    def ready(self) -> None:
        with suppress(OSError):
            wire, _address = self.listener.accept()
            wire.setblocking(False)
            self.wires.append(_ServerWire(wire, False, self.selector))


class _ServerWire(Wire):
    def __init__(self, wire: socket.socket, is_client: bool, selector: selectors.BaseSelector) -> None:
        super().__init__(wire, is_client, selector)
        self.asked: dict[int, int] = {}
        self.replies: dict[int, int] = {}

    def talk(self) -> None:
        for event in self.events():
            if isinstance(event, RequestReceived):
                self.asked[event.stream_id] = int(dict(event.headers)[_SIZE])
            elif isinstance(event, DataReceived):
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self._begin(event.stream_id)
            elif isinstance(event, StreamReset):
                self.replies.pop(event.stream_id, None)
        for stream in list(self.replies) if self.open else ():
            self._go_on(stream)
        if self.open:
            self.flush()

    def _begin(self, stream: int) -> None:
        self.http.send_headers(stream, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        self.replies[stream] = self.asked.pop(stream)

    def _go_on(self, stream: int) -> None:
        """Send as much of a reply as the windows allow."""
        while self.replies[stream]:
            part = min(self.room(stream), self.replies[stream])
            if part <= 0:
                return
            self.http.send_data(stream, b"x" * part)
            self.replies[stream] -= part
        del self.replies[stream]
        self.http.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)


class _Client:
    """The caller: up to PARALLEL calls at once on one channel, which is opened again whenever it breaks."""

    def __init__(self, path: str, calls: int, replies: Sequence[int], selector: selectors.BaseSelector) -> None:
        self.path = path
        self.replies = replies
        self.selector = selector
        self.unsent = calls
        self.sent = 0
        self.lost = 0
        self.words = ""
        self.wire: _ClientWire | None = None
        self._call()

    @property
    def left(self) -> int:
        """How many calls have not ended."""
        return self.unsent + (len(self.wire.waiting) if self.wire else 0)

    def lose(self, number: int, words: str) -> None:
        self.lost += number
        self.words = self.words or words

    def give_up(self, words: str) -> None:
        """Count all that is left as lost."""
        self.lose(self.left, words)
        self.unsent = 0
        if self.wire:
            self.wire.waiting.clear()
            self.wire.close()

    def next_size(self) -> int:
        """Return the size of the reply that the next call asks for."""
        self.unsent -= 1
        self.sent += 1
        return self.replies[self.sent % len(self.replies)]

    def _call(self) -> None:
        try:
            self.wire = _ClientWire(_connected(self.path), self)
        except OSError as error:
            self.give_up(f"no connection ({error.strerror})")

    def broken(self) -> None:
        """Open the channel again."""
        if self.unsent:
            self._call()


class _ClientWire(Wire):
    def __init__(self, wire: socket.socket, client: _Client) -> None:
        super().__init__(wire, True, client.selector)
        self.client = client
        # By stream: how many bytes of the reply are missing; its trailers end it.
        self.waiting: dict[int, int] = {}
        self.greeted = False

    def ready(self) -> None:
        super().ready()
        if not self.open:
            self._lose_all("the connection was closed")

    def talk(self) -> None:
        for event in self.events():
            self.greeted = True
            self._take(event)
        if self.open:
            self._send_more()
            self.flush()

    def _take(self, event: Any) -> None:
        stream = getattr(event, "stream_id", None)
        if isinstance(event, ConnectionTerminated):
            self.close()
        elif stream not in self.waiting:
            return
        elif isinstance(event, DataReceived):
            self.waiting[stream] -= len(event.data)
            self.http.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, StreamReset):
            self._ended(stream, f"RST_STREAM with error {int(event.error_code)}")
        elif isinstance(event, ResponseReceived) and dict(event.headers).get(b":status") != b"200":
            self.client.words = self.client.words or f"HTTP status {dict(event.headers).get(b':status', b'')!r}"
        elif isinstance(event, TrailersReceived):
            ok = dict(event.headers).get(b"grpc-status") == b"0" and self.waiting[stream] == 0
            self._ended(stream, "" if ok else "a reply that is not whole")
        elif isinstance(event, StreamEnded):
            self._ended(stream, "a reply without trailers")

    def _ended(self, stream: int, words: str) -> None:
        del self.waiting[stream]
        if words:
            self.client.lose(1, words)

    def _lose_all(self, words: str) -> None:
        self.client.lose(len(self.waiting), words)
        self.waiting.clear()
        self.client.broken()

    def _send_more(self) -> None:
        # As gRPC's clients do, wait for the settings of the other side: it may allow one call at a time.
        most = min(PARALLEL, self.http.remote_settings.max_concurrent_streams) if self.greeted else 0
        while self.client.unsent and len(self.waiting) < most:
            stream = self.http.get_next_available_stream_id()
            size = self.client.next_size()
            headers = [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/probe.Probe/Call"),
                (b":authority", b"probe"),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
                (_SIZE, str(size).encode()),
            ]
            self.http.send_headers(stream, headers)
            self.http.send_data(stream, b"\0\0\0\0\0", end_stream=True)
            self.waiting[stream] = size
