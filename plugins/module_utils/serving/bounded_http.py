# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with an untrusted server, of this host by default, bounded in time and bytes.

tfserving-health contains this file (see its template), so it needs only Python's standard library and no ``from
__future__``.
"""

import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

# Status line and headers of TensorFlow Serving take some hundred bytes; http.client itself accepts 100 headers.
MOST_HEAD_BYTES = 64 * 1024
# A status takes a few hundred bytes per version, and the server never forgets one: enough for thousands.
MOST_STATUS_BYTES = 1 << 20
# A parsed answer takes up to 70 bytes per value: no answer takes more than 100 MB of memory.
MOST_VALUES = 1_000_000
# A tensor has at most 254 dimensions (TensorShape::MaxDimensions), and Python's recursion limit is 1000 calls.
MOST_DEPTH = 300
CHUNK_BYTES = 64 * 1024


class ExchangeError(Exception):
    """A failed exchange, in words that follow the name of the server."""


class _TooLongError(ExchangeError):
    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"sends more than {most_bytes // 1024} KiB")


class TooMuchError(ValueError):
    """A JSON text of more than is read here."""


class _Wire(io.RawIOBase):
    """The receiving end of a socket. The limits hold for the whole answer, whatever length it declares."""

    def __init__(self, wire: socket.socket, seconds: float, most_bytes: int) -> None:
        super().__init__()
        self.wire = wire
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.most_bytes, self.left = most_bytes, most_bytes + MOST_HEAD_BYTES

    def makefile(self, *_mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.left:
            raise _TooLongError(self.most_bytes)
        self._wait()
        try:
            count = self.wire.recv_into(memoryview(buffer)[: self.left])
        except socket.timeout as error:
            if self.left == self.most_bytes + MOST_HEAD_BYTES:
                raise  # not a single byte
            raise self._late() from error
        self.left -= count
        return count

    def sendall(self, data: bytes) -> None:
        self._wait()
        self.wire.sendall(data)

    def _wait(self) -> None:
        left = self.end - time.monotonic()
        if left <= 0:
            raise self._late()
        self.wire.settimeout(left)

    def _late(self) -> ExchangeError:
        return ExchangeError(f"has not answered in full after {self.seconds:g} s")

    def close(self) -> None:
        # http.client closes the socket as soon as it has its file and knows that no other answer follows.
        pass


def exchange(
    port: int, method: str, path: str, headers: Mapping[str, str], seconds: float, most_bytes: int,
    body: Optional[bytes] = None, host: str = "127.0.0.1", wrap: Optional[Callable[[socket.socket], Any]] = None,
) -> tuple[int, bytes]:  # fmt: skip
    """Return status and body of the answer from the server on ``port``; redirects count as ordinary answers.

    ``seconds`` is for the whole exchange, ``most_bytes`` for the body; ``wrap`` puts TLS around the connection. Raises
    ExchangeError.
    """
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    wire = None
    try:
        connection.connect()
        wire = connection.sock
        wire = wrap(wire) if wrap else wire
        connection.sock = _Wire(wire, seconds, most_bytes)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, _body(response, most_bytes)
    except OSError as error:
        raise ExchangeError(f"does not answer ({error.strerror or error})") from error
    except (http.client.HTTPException, ValueError) as error:
        raise ExchangeError(f"does not speak HTTP ({type(error).__name__})") from error
    finally:
        connection.close()
        if wire is not None:
            wire.close()


def _body(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    found = bytearray()
    while chunk := response.read(CHUNK_BYTES):
        found += chunk
        if len(found) > most_bytes:
            raise _TooLongError(most_bytes)
    if response.length:
        raise ExchangeError(f"breaks off {response.length} bytes before the end of its answer")
    return bytes(found)


def parsed(raw: bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError if it is invalid, too much, too deep or has repeated keys."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise TooMuchError(f"it holds more than {MOST_VALUES} values")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_mapping)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _deeper_than(MOST_DEPTH, value):
        raise ValueError("it is nested too deeply")
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it has a duplicate key")
    return found


def _deeper_than(most: int, value: Any) -> bool:
    layer = [value]
    for _depth in range(most):
        layer = [inner for outer in layer if isinstance(outer, (list, dict)) for inner in _within(outer)]
        if not layer:
            return False
    return True


def _within(outer: Any) -> Any:
    return outer.values() if isinstance(outer, dict) else outer
