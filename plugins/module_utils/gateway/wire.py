# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One end of a connection that speaks HTTP/2, by the package h2 (Debian's python3-h2), which gateways have."""

from __future__ import annotations

import selectors
import socket
import ssl
from typing import Any

try:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.exceptions import ProtocolError

    HAS_H2 = True
except ImportError:
    HAS_H2 = False

MISSING = "the Python package h2 is missing, without which no call can be made; install python3-h2"
_CHUNK = 1 << 16
# What a socket says that has nothing to do now, with and without TLS.
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """A socket that never blocks, and the state of HTTP/2 over it."""

    def __init__(self, wire: socket.socket, is_client: bool, selector: selectors.BaseSelector) -> None:
        self.socket = wire
        self.selector = selector
        # What stands in headers is the business of whoever sends them; this is about frames.
        config = H2Configuration(client_side=is_client, header_encoding=None, validate_inbound_headers=False)
        self.http = H2Connection(config)
        self.http.initiate_connection()
        self.outgoing = b""
        self.open = True
        selector.register(wire, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def ready(self) -> None:
        """Take what has arrived and send what is due; a connection whose other side has said goodbye is closed."""
        try:
            self.talk()
        except ProtocolError:
            self.close()

    def talk(self) -> None:
        """Do what is to be done, once the socket is ready."""
        raise NotImplementedError

    def events(self) -> list[Any]:
        """Return what has arrived; an empty list with ``open`` false means that the other side has gone."""
        try:
            data = self.socket.recv(_CHUNK)
        except _LATER:
            return []
        except OSError:
            data = b""
        if not data:
            self.close()
            return []
        self.took(len(data))
        return list(self.http.receive_data(data))

    def took(self, size: int) -> None:
        """Learn how many bytes have arrived, before they are read."""

    def room(self, stream: int) -> int:
        """Return how many bytes may be sent now on a stream, in one frame."""
        return min(self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size)

    def flush(self) -> None:
        """Send what can be sent now, and ask to be called again for the rest."""
        self.outgoing += self.http.data_to_send()
        try:
            while self.outgoing:
                sent = self.socket.send(self.outgoing)
                self.outgoing = self.outgoing[sent:]
        except _LATER:
            pass
        except OSError:
            self.close()
        if self.open:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.outgoing else 0)
            self.selector.modify(self.socket, wanted, self)

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        if self.open:
            self.open = False
            self.selector.unregister(self.socket)
            self.socket.close()
