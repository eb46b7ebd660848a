# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A trace of the server, asked for where its callers stand: tensorflow.ProfilerService on the gRPC port.

The server writes the trace itself, to ROOT/SESSION/HOST.xplane.pb on its own host, and answers only whether it is
empty. The messages have so few fields that they are written by hand: profiler_service.proto of TSL.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .grpc_calls import OPTIONS, MissingGrpcError, credentials, imported
from .messages import delimited, tagged
from .target import CONNECT_S, server_name

METHOD = "/tensorflow.ProfilerService/Profile"
DONE, REFUSED = 0, 2
# Collecting and writing the events of a busy server takes longer than recording them.
OVERTIME_S = 120.0
# ProfileRequest: opts, repository_root, session_id, host_name; ProfileOptions: duration_ms, the only duration read.
_OPTIONS, _ROOT, _SESSION, _HOST, _DURATION_MS = 4, 5, 6, 7, 9
# ProfileResponse: bool empty_trace = 7
_EMPTY = bytes([7 << 3, 1])
_LONGEST_WORDS = 500


def trace(question: Path, out: Path | None) -> int:
    """Ask for a trace as a file describes it; the answer goes to OUT/result.json, or else to standard output."""
    try:
        text = json.dumps(answered(json.loads(question.read_text(encoding="utf-8"))))
    except MissingGrpcError as error:
        print(error, file=sys.stderr)
        return REFUSED
    if out is None:
        print(text)
    else:
        (out / "result.json").write_text(text, encoding="utf-8")
    return DONE


def answered(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the server says: ``{"status": "OK", "words": "", "empty": false}``.

    :param question: the ``target`` of a stage, ``delay_s`` to wait before, ``duration_ms``, and where the server
        writes: ``root``, ``session`` and ``host``.
    """
    grpc = imported()
    time.sleep(question["delay_s"])
    limit_s = question["duration_ms"] / 1000 + OVERTIME_S
    with _channel(grpc, question["target"]) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_S)
            reply = channel.unary_unary(METHOD)(request(question), timeout=limit_s)
        except grpc.FutureTimeoutError:
            return {"status": "UNAVAILABLE", "words": f"no connection within {CONNECT_S:g} s", "empty": True}
        except grpc.RpcError as error:
            return {"status": error.code().name, "words": (error.details() or "")[:_LONGEST_WORDS], "empty": True}
    return {"status": "OK", "words": "", "empty": _EMPTY in reply}


def request(question: Mapping[str, Any]) -> bytes:
    """Return the ProfileRequest."""
    duration = tagged(_DURATION_MS, question["duration_ms"])
    places = ((_ROOT, question["root"]), (_SESSION, question["session"]), (_HOST, question["host"]))
    return delimited(_OPTIONS, duration) + b"".join(delimited(number, text.encode()) for number, text in places)


def _channel(grpc: Any, target: Mapping[str, Any]) -> Any:
    host = target["host"]
    where = f"[{host}]:{target['grpc']}" if ":" in host else f"{host}:{target['grpc']}"
    if target["tls"] is None:
        return grpc.insecure_channel(where, options=OPTIONS)
    name = ("grpc.ssl_target_name_override", server_name(dict(target)))
    return grpc.secure_channel(where, credentials(grpc, target["tls"]), options=[*OPTIONS, name])
