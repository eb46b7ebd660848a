# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""gRPC as the load generator speaks it: PredictRequests as bytes, status from the trailers, several channels.

grpc is imported when it is first needed: a load host that only speaks REST does without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

from .engine import Call
from .messages import delimited
from .target import CONNECT_S, UnreachableError, server_name

METHOD = "/tensorflow.serving.PredictionService/Predict"
# grpcio takes 4 MB by default; the largest replies that make sense are those of an image model, tens of MB.
LARGEST = 64 * 1024 * 1024
# What grpc says itself of a connection that failed; it marks its own statuses in no other way (seen in 1.51 and 1.85).
OWN_WORDS = (
    *("failed to connect", "stream removed", "socket closed", "recvmsg", "sendmsg", "connection reset"),
    *("broken pipe", "goaway", "endpoint closing", "transport closed", "keepalive watchdog", "connection attempt"),
    *("dns resolution", "empty address list", "handshake", "connection refused", "ping timeout"),
)

# The server looks into a table for it, and counts nothing (model_servers/model_service_impl.cc).
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
OPTIONS = [
    # Without it, channels to one address share one connection, hence one polling thread in the server.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    # A request that is sent again by the library would hide an error.
    ("grpc.enable_retries", 0),
    # A proxy of the environment is not what is measured.
    ("grpc.enable_http_proxy", 0),
    # A server that was restarted gets its connections back within a second rather than within two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Servers end connections that are pinged more often than every five minutes. Time-outs find dead peers sooner.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


class MissingGrpcError(Exception):
    """grpc is not installed. The text is a sentence for the user."""


def imported() -> Any:
    """Return grpc with grpc.aio. Raise MissingGrpcError where it is missing or too old."""
    try:
        grpc = import_module("grpc")
        import_module("grpc.aio")
    except ImportError as error:
        raise MissingGrpcError(
            "gRPC needs the Python package grpcio, 1.32 or newer, which this Python does not have: install it there, "
            "or measure by REST"
        ) from error
    return grpc


def credentials(grpc: Any, tls: dict[str, Any]) -> Any:
    """Return what a channel with TLS needs, from PEM texts and the file of the key."""
    ca, certificate = (tls[key].encode() if tls.get(key) else None for key in ("ca", "certificate"))
    key = Path(tls["key_file"]).read_bytes() if certificate and tls.get("key_file") else None
    return grpc.ssl_channel_credentials(ca, key, certificate)


def word(status: str, details: str) -> str:
    """Return what an error counts as: its status where the server sent it, else ``connection`` or ``timeout``."""
    said = details.lower()
    if status == "DEADLINE_EXCEEDED" and said == "deadline exceeded":
        return "timeout"
    return "connection" if status == "UNAVAILABLE" and any(each in said for each in OWN_WORDS) else status


def for_nothing(model: str) -> bytes:
    """Return a GetModelStatusRequest: get_model_status.proto, model.proto."""
    return delimited(1, delimited(1, model.encode()))


def _options(target: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the options of a channel, those of a caller who takes replies of some size only if the target says so."""
    limit = target.get("reply_bytes", LARGEST)
    return [(name, limit if name == "grpc.max_receive_message_length" else value) for name, value in OPTIONS]


class Grpc:
    """The channels of a process. ``finish(call, error, reply)`` is called once for each call that was sent."""

    def __init__(self, target: dict[str, Any], requests: Sequence[bytes], connections: int) -> None:
        self._grpc = imported()
        self._target = target
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._channels = [self._channel() for _ in range(connections)]
        # No serializers: bytes go in and come out as they are.
        self._methods = cycle([channel.unary_unary(METHOD) for channel in self._channels])
        self.finish: Callable[..., None]

    def _channel(self) -> Any:
        host = self._target["host"]
        where = f"[{host}]:{self._target['grpc']}" if ":" in host else f"{host}:{self._target['grpc']}"
        tls = self._target["tls"]
        options = _options(self._target)
        if tls is None:
            return self._grpc.aio.insecure_channel(where, options=options)
        name = ("grpc.ssl_target_name_override", server_name(self._target))
        return self._grpc.aio.secure_channel(where, credentials(self._grpc, tls), options=[*options, name])

    async def open(self) -> None:
        """Wait until all channels are connected. Raise UnreachableError where that fails."""
        try:
            ready = asyncio.gather(*(channel.channel_ready() for channel in self._channels))
            await asyncio.wait_for(ready, CONNECT_S)
        except asyncio.TimeoutError as error:
            raise UnreachableError(self._target, "grpc", error) from error

    async def nothing(self, timeout_s: float) -> bool:
        """Send the first request, which is one ``for_nothing``; return whether it was answered."""
        try:
            await self._channels[0].unary_unary(STATUS)(self._requests[0], timeout=timeout_s)
        except self._grpc.aio.AioRpcError:
            return False
        return True

    def send(self, call: Call) -> None:
        """Send a call over the next channel."""
        call.handle = self._loop.create_task(self._called(call))

    async def _called(self, call: Call) -> None:
        left = max(call.deadline - self._loop.time(), 0.001)
        try:
            reply = await next(self._methods)(self._requests[call.request], timeout=left)
        except self._grpc.aio.AioRpcError as error:
            self.finish(call, word(error.code().name, error.details() or ""))
        except self._grpc.aio.UsageError:
            self.finish(call, "client")
        else:
            self.finish(call, None, reply)

    def cancel(self, call: Call) -> None:
        """Give a call up: the server is told."""
        if call.handle is not None:
            call.handle.cancel()

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels:
            await channel.close()
