# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Has a server of this host take in a changed configuration now, rather than at its next look at the file.

That is one gRPC call (tensorflow.serving.ModelService/HandleReloadConfigRequest) without gRPC's library, which hosts do
not have. What the server answers is not read, only that it does: whether it serves as it should is seen by its status,
and a call that was lost is made good by the server's own look at the file. Fields are numbered as in TensorFlow
Serving's model_management.proto, model_server_config.proto and file_system_storage_path_source.proto.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..load.messages import delimited, tagged

SECONDS = 3.0
# A client may send this much before the server has allowed more (RFC 9113, 6.9.2): the models of hundreds.
MOST_BYTES = 65_535
# The frames of an answer take some hundred bytes.
MOST_ANSWER_BYTES = 1 << 20

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_METHOD = b"/tensorflow.serving.ModelService/HandleReloadConfigRequest"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_LONGEST_FRAME = 16_384
_HEAD_BYTES = 9
_KNOWN = {"name", "base_path", "model_platform", "model_version_policy", "version_labels"}


def asked(port: int, model_config: Mapping[str, Any], seconds: float = SECONDS) -> bool:
    """Return whether the server at a gRPC port without TLS has answered a call to take in a ModelServerConfig.

    Nothing is sent, and false returned, for a configuration with fields that are not known here.
    """
    message = request(model_config)
    if message is None or len(message) + 5 > MOST_BYTES:
        return False
    try:
        with socket.create_connection(("127.0.0.1", port), seconds) as wire:
            wire.sendall(_call(port, message))
            return _is_answered(wire, time.monotonic() + seconds)
    except OSError:
        return False


def request(model_config: Mapping[str, Any]) -> bytes | None:
    """Return a ReloadConfigRequest; None for a configuration with fields that are not known here."""
    configs = (model_config.get("model_config_list") or {}).get("config") or []
    if set(model_config) != {"model_config_list"} or not configs or any(set(each) - _KNOWN for each in configs):
        return None
    models = [_model(config) for config in configs]
    if any(each is None for each in models):
        return None
    return delimited(1, delimited(1, b"".join(delimited(1, each) for each in models if each)))


def _model(config: Mapping[str, Any]) -> bytes | None:
    policy = _policy(config.get("model_version_policy") or {})
    if policy is None:
        return None
    texts = ((1, "name"), (2, "base_path"), (4, "model_platform"))
    named = b"".join(delimited(field, str(config[key]).encode()) for field, key in texts if config.get(key))
    labels = sorted((config.get("version_labels") or {}).items())
    entries = (delimited(1, label.encode()) + tagged(2, int(version)) for label, version in labels)
    return named + policy + b"".join(delimited(8, entry) for entry in entries)


def _policy(policy: Mapping[str, Any]) -> bytes | None:
    """Return a ServableVersionPolicy as a field of its model; None for one of which only the server knows the rest."""
    if not policy:
        return b""
    if set(policy) != {"specific"}:
        return None
    versions = (tagged(1, int(version)) for version in policy["specific"]["versions"])
    return delimited(7, delimited(102, b"".join(versions)))


def _call(port: int, message: bytes) -> bytes:
    """Return all that the client sends for one call."""
    # HPACK (RFC 7541): entries of the static table, and texts that enter no table and are not compressed.
    head = b"".join(
        [
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _text(_METHOD),  # :path
            b"\x01" + _text(f"127.0.0.1:{port}".encode()),  # :authority
            b"\x0f\x10" + _text(b"application/grpc"),  # content-type
            b"\x00" + _text(b"te") + _text(b"trailers"),
        ]
    )
    body = struct.pack(">BI", 0, len(message)) + message
    spans = [slice(at, at + _LONGEST_FRAME) for at in range(0, len(body), _LONGEST_FRAME)]
    parts = [body[span] for span in spans]
    data = [_frame(_DATA, _END_STREAM if at == len(parts) - 1 else 0, 1, part) for at, part in enumerate(parts)]
    return b"".join([_PREFACE, _frame(_SETTINGS, 0, 0), _frame(_HEADERS, _END_HEADERS, 1, head), *data])


def _text(content: bytes) -> bytes:
    assert len(content) < 127
    return bytes([len(content)]) + content


def _frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def _is_answered(wire: socket.socket, deadline: float) -> bool:
    """Read frames until the call has ended; return whether it ended with an answer."""
    for kind, flags, stream, content in _frames(wire, deadline):
        if kind == _SETTINGS and not flags & _ACK:
            wire.sendall(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            wire.sendall(_frame(_PING, _ACK, 0, content))
        elif kind == _GOAWAY or (kind == _RESET and stream == 1):
            return False
        elif kind in (_HEADERS, _DATA) and stream == 1 and flags & _END_STREAM:
            return True
    return False


def _frames(wire: socket.socket, deadline: float) -> Iterator[tuple[int, int, int, bytes]]:
    held, left = b"", MOST_ANSWER_BYTES
    while left > 0 and time.monotonic() < deadline:
        wire.settimeout(max(0.01, deadline - time.monotonic()))
        part = wire.recv(1 << 16)
        if not part:
            return
        held, left = held + part, left - len(part)
        while len(held) >= _HEAD_BYTES and len(held) >= (end := _HEAD_BYTES + int.from_bytes(held[:3], "big")):
            kind, flags, stream = struct.unpack(">BBI", held[3:_HEAD_BYTES])
            yield kind, flags, stream & 0x7FFFFFFF, held[_HEAD_BYTES:end]
            held = held[end:]
