# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sends the files of one version to one reader, and ends: a program of its own, without the collection beside it.

The offer is JSON on standard input: address, port, reader (its address), token, rate (bytes a second, 0 for no limit),
idle_s and longest_s (when it ends), tree (a directory) and files (path and size by SHA-256).
`GET /SHA256`, with the token and perhaps `Range: bytes=N-`, is all that can be asked for; a request never names a path.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

TOKEN = "X-Tfserving-Peer"
CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{1,15})-")
# How often it looks for its end while nobody calls.
_TICK_S = 0.2


class Pace:
    """Holds back what would be sent faster than ``rate`` bytes a second; idle time earns nothing."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free_at = 0.0

    def wait(self, size: int) -> None:
        """Wait until ``size`` more bytes may be sent."""
        if not self.rate:
            return
        now = time.monotonic()
        self.free_at = max(now, self.free_at)
        time.sleep(self.free_at - now)
        self.free_at += size / self.rate


class Offer(HTTPServer):
    """Listens on the host's own address, and hears nobody but the reader."""

    allow_reuse_address = True
    request_queue_size = 8

    def __init__(self, offer: Mapping[str, Any]) -> None:
        self.offer = offer
        self.pace = Pace(offer["rate"])
        self.tree = os.open(offer["tree"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.heard = time.monotonic()
        self.end = self.heard + offer["longest_s"]
        self.address_family = socket.AF_INET6 if ":" in offer["address"] else socket.AF_INET
        self.timeout = _TICK_S
        super().__init__((offer["address"], offer["port"]), Answer)

    def server_bind(self) -> None:
        # That of http.server asks the name service for this host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.offer["address"], self.socket.getsockname()[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return bool(client_address[0] == self.offer["reader"])

    def serve(self) -> None:
        """Answer until nobody has asked for ``idle_s``, or ``longest_s`` are over."""
        while time.monotonic() < min(self.end, self.heard + self.offer["idle_s"]):
            self.handle_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        print(f"tfserving-peer: the transfer broke off ({type(error).__name__})", file=sys.stderr)


class Answer(BaseHTTPRequestHandler):
    """One connection of the reader."""

    protocol_version = "HTTP/1.1"
    server: Offer

    def setup(self) -> None:
        super().setup()
        # A reader that is silent within a connection ends like one that does not come.
        self.connection.settimeout(self.server.offer["idle_s"])

    def do_GET(self) -> None:
        """Send a file, or what is left of it."""
        given = self.headers.get(TOKEN, "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.server.offer["token"].encode()):
            return self._refuse(403)
        self.server.heard = time.monotonic()
        entry = self.server.offer["files"].get(self.path[1:]) if self.path.startswith("/") else None
        if entry is None:
            return self._refuse(404)
        asked = self.headers.get("Range")
        begin = _RANGE.fullmatch(asked) if asked else None
        start = int(begin.group(1)) if begin else 0
        if (asked and not begin) or start > entry["size"]:
            return self._refuse(416)
        try:
            handle = os.open(
                entry["path"],
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC,
                dir_fd=self.server.tree,
            )
        except OSError:
            return self._refuse(410)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size != entry["size"]:
                return self._refuse(410)
            return self._send(file, start, entry["size"] - start)

    def _send(self, file: Any, start: int, left: int) -> None:
        file.seek(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk or time.monotonic() > self.server.end:
                # The length is declared, so the reader sees that it ends too early.
                self.close_connection = True
                return
            self.server.pace.wait(len(chunk))
            self.wfile.write(chunk)
            left -= len(chunk)
            self.server.heard = time.monotonic()

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *_arguments: Any) -> None:
        """Write nothing: a version may have thousands of files."""


def ready() -> None:
    """Tell systemd that the port is open (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.sendto(b"READY=1", f"\0{path[1:]}" if path.startswith("@") else path)


def main() -> int:
    """Offer what standard input says."""
    offer = json.load(sys.stdin)
    try:
        server = Offer(offer)
    except OSError as error:
        place = f"{offer['address']} port {offer['port']}"
        print(f"tfserving-peer: {offer['tree']} cannot be offered at {place}: {error.strerror}", file=sys.stderr)
        return 1
    ready()
    print(f"tfserving-peer: offers at {server.server_name} port {server.server_port}", flush=True)
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
