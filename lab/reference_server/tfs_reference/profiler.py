# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""tensorflow.ProfilerService: traces of the runtime that the process itself carries, taken by the runtime's own tracer.

As upstream, the server writes the trace: to REPOSITORY_ROOT/SESSION_ID/HOST_NAME.xplane.pb, wherever the caller says,
and the reply tells only whether it is empty. Of the requests' messages only the fields that matter are read, by hand,
since the runtime's wheel brings no classes for them.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc

# profiler_service.proto: ProfileRequest and TerminateRequest; profiler_options.proto: ProfileOptions.
_OPTIONS, _ROOT, _SESSION, _HOST, _TERMINATED = 4, 5, 6, 7, 1
_DURATION_MS, _HOST_LEVEL = 9, 2
_EMPTY_TRACE = 7
# xplane.proto: XSpace.planes, XPlane.lines, XLine.events
_EVENTS = (1, 3, 4)
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_LOOK_SECONDS = 0.001


class Request(NamedTuple):
    """A ProfileRequest. The duration is that of its options; the field of the same name beside them is not read."""

    duration_ms: int
    level: int | None
    root: str
    session: str
    host: str


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a serialized message: (number, value), a value being an int or bytes. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind not in (_FIXED_64, _BYTES, _FIXED_32):
            raise ValueError("no wire type")
        size = {_FIXED_64: 8, _FIXED_32: 4}.get(kind)
        if size is None:
            size, at = _varint(data, at)
        if at + size > len(data):
            raise ValueError("cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("no number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _request(data: bytes) -> Request:
    outer = dict(fields(data))
    options = dict(fields(outer.get(_OPTIONS, b"")))
    root, session, host = (outer.get(number, b"").decode() for number in (_ROOT, _SESSION, _HOST))
    return Request(options.get(_DURATION_MS, 0), options.get(_HOST_LEVEL), root, session, host)


def is_empty(space: bytes, path: tuple[int, ...] = _EVENTS) -> bool:
    """Whether a serialized XSpace has no event in any line of any plane."""
    inner = (value for number, value in fields(space) if number == path[0])
    return all(len(path) > 1 and is_empty(value, path[1:]) for value in inner)


class ProfilerService:
    """Profile and Terminate; the runtime has one tracer, so a second capture at a time is refused."""

    def __init__(self) -> None:
        self._terminated: set[str] = set()
        self._lock = threading.Lock()

    def profile(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        request = _request(data)
        from tensorflow.python.profiler.internal import _pywrap_profiler

        session = _pywrap_profiler.ProfilerSession()
        options = {} if request.level is None else {"host_tracer_level": request.level}
        # The binding gives an XSpace away only as a file of a directory that is named when it starts.
        with tempfile.TemporaryDirectory() as folder:
            try:
                session.start(folder, options)
            except Exception as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))
            cancelled = not self._wait(request, context)
            session.export_to_tb()
            space = b"".join(path.read_bytes() for path in Path(folder).rglob("*.xplane.pb"))
        if cancelled:
            context.abort(grpc.StatusCode.CANCELLED, "")
        _save(request, space, context)
        return bytes([_EMPTY_TRACE << 3, 1]) if is_empty(space) else b""

    def _wait(self, request: Request, context: grpc.ServicerContext) -> bool:
        """Wait for the end of the capture; False when the caller has gone."""
        end = time.monotonic() + request.duration_ms / 1000
        while time.monotonic() < end and not self._is_terminated(request.session):
            if not context.is_active():
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _is_terminated(self, session: str) -> bool:
        with self._lock:
            found = session in self._terminated
            self._terminated.discard(session)
        return found

    def terminate(self, data: bytes, _context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self._terminated.add(dict(fields(data)).get(_TERMINATED, b"").decode())
        return b""


def _save(request: Request, space: bytes, context: grpc.ServicerContext) -> None:
    folder = os.path.join(request.root, request.session)
    path = os.path.join(folder, f"{request.host}.xplane.pb".replace(":", "_"))
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as file:
            file.write(space)
    except OSError as error:
        code = grpc.StatusCode.PERMISSION_DENIED if isinstance(error, PermissionError) else grpc.StatusCode.UNKNOWN
        context.abort(code, f"{path}; {os.strerror(error.errno)}")


def _monitor(_data: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "unimplemented.")
    return b""


def add_to_server(server: grpc.Server) -> None:
    service = ProfilerService()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(method)
        for name, method in (("Profile", service.profile), ("Terminate", service.terminate), ("Monitor", _monitor))
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tensorflow.ProfilerService", handlers),))
