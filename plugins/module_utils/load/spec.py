# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The description of a stage: one JSON file, checked before anything is sent. What is wrong is said in one sentence."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypedDict

from . import replies

SCHEMA = 1
# All bodies of a stage are held in memory by each process, beside the 50 MB that Python and grpc take.
LARGEST_FILE = 64 * 1024 * 1024
MOST_REQUESTS = 10_000
# A rate in requests/s that no client reaches; it keeps a slip of a zero from filling memory with moments that are due.
FASTEST = 1_000_000.0
LONGEST_S = 7 * 24 * 3600.0
LONGEST_TIMEOUT_S = 600.0
MOST_PROCESSES = 256
# Shards of one request: more than any server runs at a time.
MOST_COPIES = 256
# One connection is one thread of the server that waits for it.
MOST_CONNECTIONS = 512

_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
# What may stand in the first line of a request: nothing that ends it.
_PATH = re.compile(r"/[!-~]{0,4095}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,1024}")


class BadSpecError(Exception):
    """The description of a stage is wrong. The text is a sentence for the user."""


class _Target(TypedDict):
    host: str
    grpc: int
    rest: int
    tls: dict[str, Any] | None
    metrics: str | None


class Target(_Target, total=False):
    """Where the requests go: ``tls`` holds PEM texts, a name and the file of a key.

    ``reply_bytes`` is the largest reply by gRPC that is taken, where it is not as large as gRPC allows.
    """

    reply_bytes: int


class _Request(TypedDict):
    model: str
    signature: str
    path: str
    rest: str
    grpc: str
    weight: float
    items: int
    expect: dict[str, Any] | None


class Request(_Request, total=False):
    """One kind of request; ``rest`` and ``grpc`` are its bodies in base64.

    It is sent as ``copies`` calls at once, 1 unless given, and answered with the last of them; ``items`` are those of
    all.
    """

    copies: int


class Spec(TypedDict):
    """One stage. Times are in s, the rate in requests/s of all processes together."""

    schema: int
    engine: str
    protocol: str
    target: Target
    requests: list[Request]
    rate: float
    arrivals: str
    seed: int
    warmup_s: float
    duration_s: float
    processes: int
    connections: int
    timeout_s: float
    start_in_s: float


def read(path: Path) -> Spec:
    """Read and check the description of a stage. Raise BadSpecError."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadSpecError(f"{path} cannot be read: {(error.strerror or 'unknown error').lower()}") from error
    if len(text) > LARGEST_FILE:
        raise BadSpecError(f"{path} is larger than {LARGEST_FILE >> 20} MiB: give fewer or smaller requests")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSpecError(f"{path} is not JSON") from error
    return checked(value)


def checked(value: Any) -> Spec:
    """Check the description of a stage and return it. Raise BadSpecError."""
    if not isinstance(value, dict):
        raise BadSpecError("a stage is described by a mapping")
    if value.get("schema") != SCHEMA or isinstance(value["schema"], bool):
        raise BadSpecError(f"schema must be {SCHEMA}")
    for key, check in _STAGE.items():
        check(value, key, key)
    _target(value["target"])
    for number, request in enumerate(value["requests"]):
        _request(request, f"requests[{number}]", value["protocol"])
    return value  # type: ignore[return-value]


def body(request: Request, protocol: str) -> bytes:
    """Return the body of a checked request."""
    return base64.b64decode(request["grpc"] if protocol == "grpc" else request["rest"], validate=True)


_Test = Callable[[dict[str, Any], str, str], None]


def _needs(wanted: str, test: Callable[[Any], bool]) -> _Test:
    """Return a check of one key of a mapping, which names what is wanted where the test fails."""

    def check(value: dict[str, Any], key: str, path: str) -> None:
        if key not in value:
            raise BadSpecError(f"{path} is missing: give {wanted}")
        if not test(value[key]):
            raise BadSpecError(f"{path} must be {wanted}")

    return check


def _one_of(*words: str) -> _Test:
    return _needs(" or ".join(words), lambda value: isinstance(value, str) and value in words)


def _whole(low: int, high: int) -> _Test:
    return _needs(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def _number(low: float, high: float, positive: bool = False) -> _Test:
    def test(value: Any) -> bool:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            return False
        return isfinite(value) and (value > 0 or not positive)

    return _needs(f"a number {'above' if positive else 'from'} {low:g} {'up ' * positive}to {high:g}", test)


def _text(wanted: str, pattern: re.Pattern[str]) -> _Test:
    return _needs(wanted, lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None)


def _or_null(wanted: str, test: Callable[[Any], bool]) -> _Test:
    return _needs(f"{wanted} or null", lambda value: value is None or test(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LARGEST_FILE


_STAGE: dict[str, _Test] = {
    "engine": _one_of("own", "h2load"),
    "protocol": _one_of("grpc", "rest"),
    "target": _needs("a mapping", lambda value: isinstance(value, dict)),
    "requests": _needs(
        f"a list of 1 to {MOST_REQUESTS} requests",
        lambda value: isinstance(value, list) and 1 <= len(value) <= MOST_REQUESTS,
    ),
    "rate": _number(0, FASTEST, positive=True),
    "arrivals": _one_of("poisson", "constant"),
    "seed": _whole(-(2**63), 2**63 - 1),
    "warmup_s": _number(0, LONGEST_S),
    "duration_s": _number(0, LONGEST_S, positive=True),
    "processes": _whole(1, MOST_PROCESSES),
    "connections": _whole(1, MOST_CONNECTIONS),
    "timeout_s": _number(0, LONGEST_TIMEOUT_S, positive=True),
    "start_in_s": _number(0, 60),
}

_PORT = _whole(1, 65535)
_TARGET: dict[str, _Test] = {
    "host": _text("a host name or an IP address", _HOST),
    "grpc": _PORT,
    "rest": _PORT,
    "tls": _or_null("a mapping", lambda value: isinstance(value, dict)),
    "metrics": _or_null("a path", lambda value: isinstance(value, str) and _PATH.fullmatch(value) is not None),
}
_REPLY = _whole(1, 2**31 - 1)
_TLS: dict[str, _Test] = dict.fromkeys(("ca", "name", "certificate", "key_file"), _or_null("a text", _is_text))

_REQUEST: dict[str, _Test] = {
    "model": _text("a name", _NAME),
    "signature": _text("a name", _NAME),
    "path": _text("a path without blanks", _PATH),
    "weight": _number(0, 1e9, positive=True),
    "items": _whole(0, 10**9),
    "expect": _or_null("a mapping", lambda value: isinstance(value, dict)),
}

_COPIES = _whole(1, MOST_COPIES)


def _target(target: dict[str, Any]) -> None:
    for key, check in _TARGET.items():
        check(target, key, f"target.{key}")
    if "reply_bytes" in target:
        _REPLY(target, "reply_bytes", "target.reply_bytes")
    for key, check in _TLS.items() if target["tls"] is not None else ():
        check(target["tls"], key, f"target.tls.{key}")


def _request(request: Any, path: str, protocol: str) -> None:
    if not isinstance(request, dict):
        raise BadSpecError(f"{path} must be a mapping")
    for key, check in _REQUEST.items():
        check(request, key, f"{path}.{key}")
    if "copies" in request:
        _COPIES(request, "copies", f"{path}.copies")
    try:
        if not isinstance(request.get(protocol), str):
            raise ValueError("not a text")
        body(request, protocol)  # type: ignore[arg-type]
    except ValueError as error:
        raise BadSpecError(f"{path}.{protocol} must be the body in base64") from error
    try:
        replies.prepare(request["expect"], protocol)
    except ValueError as error:
        raise BadSpecError(f"{path}.expect cannot be used: {error}") from error
