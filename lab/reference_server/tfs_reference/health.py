# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""grpc.health.v1, whose messages are so small that they are written by hand instead of taking another package.

Both carry one field with number 1: the request a string (the service), the answer an enum (1 = SERVING,
3 = SERVICE_UNKNOWN).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

_SERVING, _SERVICE_UNKNOWN = 1, 3
# The names carry no package prefix; the empty one stands for the whole server.
_SERVICES = frozenset({"", "ModelService", "PredictionService"})
_STRING_FIELD_1 = 0x0A


def _service(data: bytes) -> str:
    """The service name of a serialized HealthCheckRequest (names under 128 bytes have a one-byte length)."""
    return data[2 : 2 + data[1]].decode() if len(data) > 1 and data[0] == _STRING_FIELD_1 else ""


def _answer(status: int) -> bytes:
    return bytes([0x08, status])


def _check(service: str, context: grpc.ServicerContext) -> int:
    if service not in _SERVICES:
        context.abort(grpc.StatusCode.NOT_FOUND, "")
    return _SERVING


def _watch(service: str, context: grpc.ServicerContext) -> Iterator[int]:
    """The status never changes once the listener is up, so the stream says it once and then only stays open."""
    yield _SERVING if service in _SERVICES else _SERVICE_UNKNOWN
    closed = threading.Event()
    context.add_callback(closed.set)
    closed.wait()


def add_to_server(server: grpc.Server) -> None:
    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(_check, _service, _answer),
        "Watch": grpc.unary_stream_rpc_method_handler(_watch, _service, _answer),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
