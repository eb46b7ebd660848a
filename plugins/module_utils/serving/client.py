# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving's REST interface, on the local host by default, and the conclusions its answers allow.

Two habits of the server shape this file. Status 200 means that a model is known, not that it serves: only a version in
state AVAILABLE does. And the status path accepts a label without using it, while metadata and predictions resolve it.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any
from urllib.parse import quote

from ..visible_text import shortened, told
from . import bounded_http

AVAILABLE = "AVAILABLE"
END = "END"

# A status call reads a map and returns at once; a slower server is unwell.
STATUS_TIMEOUT_S = 5.0
# The server's own limit for a REST call is 30 s (rest_api_timeout_in_ms); a little more lets its error arrive.
PREDICT_TIMEOUT_S = 31.0
# Signatures with some thousand inputs take this much; the answer to a probe is one example, an image or two at most.
MOST_METADATA_BYTES = 4 << 20
MOST_ANSWER_BYTES = 16 << 20
# A probe is one example. A request with more values would load the server rather than probe it.
MOST_VALUES = 1_000_000
# TensorFlow's own limit (TensorShape::MaxDimensions).
MOST_DIMENSIONS = 254
# The server's messages contain paths and whole protos; the beginning states the problem.
MOST_CHARACTERS = 2000
# Floats differ in the last digits between CPUs and between library builds.
TOLERANCE = 1e-3

_HEADERS = {"Content-Type": "application/json", "User-Agent": "tfserving.fleet"}

# Type -> the zero of that type, for every type that the server's JSON reader accepts (json_tensor.cc,
# AddValueToTensor).
_ZEROS: dict[str, Any] = {
    **dict.fromkeys(("DT_FLOAT", "DT_DOUBLE"), 0.0),
    **dict.fromkeys(("DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64"), 0),
    **dict.fromkeys(("DT_UINT8", "DT_UINT32", "DT_UINT64"), 0),
    "DT_BOOL": False,
    # Base64 works for text and bytes alike.
    "DT_STRING": {"b64": ""},
}


class UnreachableError(Exception):
    """No answer on the port, or not in time, or one without an end."""


class ServerError(Exception):
    """The server answered with an error: ``code`` is the HTTP status, 0 if it is not TensorFlow Serving at all."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(said(message))


class NoRequestError(Exception):
    """No request can be generated for a signature; the text says why."""

    def __init__(self, message: str) -> None:
        super().__init__(said(message))


def said(text: Any, length: int = MOST_CHARACTERS) -> str:
    """Return text from a server or a model for use in a sentence: one printable line, not too long."""
    return told(str(text), length)


@dataclass(frozen=True)
class Version:
    """One version's state in the server; ``error`` is empty unless its load failed."""

    version: int
    state: str
    error: str = ""

    @property
    def failed(self) -> bool:
        """Return whether the load failed. END without an error means that it was unloaded on purpose."""
        return self.state == END and bool(self.error)


class Client:
    """Queries one server. Uses the socket directly: a proxy from the environment has no place within a fleet.

    :param address: the IP address of another host.
    """

    def __init__(self, port: int, address: str = "") -> None:
        self.port = port
        self.address = address or "127.0.0.1"
        self.place = f"{address} port {port}".strip()

    def status(self, model: str) -> list[Version]:
        """Return every version of ``model`` that the server ever knew, ascending; none for an unknown model."""
        try:
            answer = self._call("GET", _path(model))
        except ServerError as error:
            if error.code == http.client.NOT_FOUND:
                return []
            raise
        try:
            return sorted(map(_version, answer["model_version_status"]), key=lambda entry: entry.version)
        except _OTHER_SHAPE as error:
            raise self._stranger("the states of a model's versions") from error

    def metadata(self, model: str, label: str | None = None, version: int | None = None) -> dict[str, Any]:
        """Return the metadata of the version that serves ``model`` (under ``label``), or of the given version."""
        return self._call("GET", f"{_path(model, label, version)}/metadata", most_bytes=MOST_METADATA_BYTES)

    def predict(
        self, model: str, body: Mapping[str, Any], label: str | None = None, version: int | None = None
    ) -> tuple[Any, float]:
        """Return the prediction for the request ``body`` and its duration in milliseconds."""
        started = time.perf_counter()
        path = _path(model, label, version)
        answer = self._call("POST", f"{path}:predict", body, PREDICT_TIMEOUT_S, MOST_ANSWER_BYTES)
        latency_ms = (time.perf_counter() - started) * 1000
        for key in ("predictions", "outputs"):
            if key in answer:
                return answer[key], latency_ms
        raise self._stranger("a prediction")

    def _call(
        self, method: str, path: str, body: Any = None, seconds: float = STATUS_TIMEOUT_S,
        most_bytes: int = bounded_http.MOST_STATUS_BYTES,
    ) -> dict[str, Any]:  # fmt: skip
        sent = None if body is None else json.dumps(body).encode()
        try:
            code, raw = bounded_http.exchange(
                self.port, method, path, _HEADERS, seconds, most_bytes, sent, self.address
            )
        except bounded_http.ExchangeError as error:
            raise UnreachableError(said(f"{self.place} {error}")) from error
        try:
            answer = bounded_http.parsed(raw)
        except ValueError as error:
            raise ServerError(0, f"{self.place} {_unread(code, raw, error)}") from error
        if not isinstance(answer, dict):
            raise self._stranger("a JSON object")
        if code != http.client.OK:
            if not isinstance(answer.get("error"), str):
                raise self._stranger(f"an error to its status {code}")
            raise ServerError(code, answer["error"])
        return answer

    def _stranger(self, wanted: str) -> ServerError:
        problem = f"{self.place} answers with something else than {wanted}, so it is not TensorFlow Serving"
        return ServerError(0, problem)


def _unread(code: int, raw: bytes, error: ValueError) -> str:
    """Return in words why an answer is not read. TensorFlow Serving writes texts as they are, UTF-8 or not."""
    if isinstance(error, bounded_http.TooMuchError):
        return f"answers with more than a check reads ({error}); ask for fewer rows"
    if isinstance(error, UnicodeDecodeError) and raw.lstrip().startswith(b"{"):
        return "answers with bytes that are no text; export that output under a name that ends in _bytes, for base64"
    text = repr(shortened(raw[:500].decode("utf-8", "replace"), 120))
    return f"answered {code} without JSON, so it is not TensorFlow Serving: {text} ({error})"


def answers(port: int) -> bool:
    """Return whether a server answers on the port; it does not until all of its first models are loaded."""
    try:
        Client(port).status("any")
    except UnreachableError:
        return False
    except ServerError as error:
        return error.code != 0
    return True


def _path(model: str, label: str | None = None, version: int | None = None) -> str:
    path = f"/v1/models/{quote(model, safe='')}"
    path += "" if label is None else f"/labels/{quote(label, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


# The errors of accessing a value whose shape is not the expected one.
_OTHER_SHAPE = (ValueError, TypeError, KeyError, AttributeError)
# Protobuf's JSON writes int64 as text; a plain number is for servers that differ.
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def _integer(value: Any) -> int:
    """Parse an int64. Raises ValueError for anything else."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    text = value if isinstance(value, str) else str(value) if is_number else ""
    if not _INTEGER.fullmatch(text):
        raise ValueError("no integer of 64 bits")
    return int(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return said(value)


def _version(entry: Mapping[str, Any]) -> Version:
    status = entry.get("status") or {}
    code = _text(status.get("error_code", "OK"))
    error = "" if code == "OK" else f"{code}: {_text(status.get('error_message', ''))}".rstrip(": ")
    version = _integer(entry["version"])
    if version < 0:
        raise ValueError("no version")
    return Version(version, said(_text(entry["state"]), 40), error)


def served_version(metadata: Mapping[str, Any]) -> int:
    """Return the version that answered a metadata call."""
    try:
        return _integer(metadata["model_spec"]["version"])
    except _OTHER_SHAPE as error:
        raise ServerError(0, "the metadata name no version") from error


def wanted_versions(policy: Mapping[str, Any] | None, on_disk: Iterable[int]) -> list[int]:
    """Return the versions that ``model_version_policy`` selects, ascending.

    ``specific`` is returned as listed, on disk or not; a missing policy means the server's own default, the latest one.
    """
    policy = policy or {}
    if "specific" in policy:
        return sorted({int(version) for version in policy["specific"]["versions"]})
    present = sorted(set(on_disk))
    if "all" in policy:
        return present
    latest = int((policy.get("latest") or {}).get("num_versions", 1))
    return present[-latest:]


# Guesses for the free dimensions after the first, and for the rank of an input of unknown rank: all ones, then no rows
# or a table, then sizes that survive several halvings.
_GUESSES = ((1, 1), (1, 0), (1, 2), (32, 1), (224, 4))


def zero_requests(metadata: Mapping[str, Any], signature: str | None = None) -> list[dict[str, Any]]:
    """Return requests of zeros for a signature, the most probable first; several only if its shapes are open."""
    found = [zero_request(metadata, signature)]
    for guess in _GUESSES[1:]:
        with suppress(NoRequestError):
            body = zero_request(metadata, signature, *guess)
            if body not in found:
                found.append(body)
    return found


def zero_request(
    metadata: Mapping[str, Any], signature: str | None = None, inner: int = 1, rank: int = 1
) -> dict[str, Any]:
    """Return a request in column form with zeros for every input of a signature, a single row of them.

    Free dimensions become 1, those after the first ``inner``; an input of unknown rank gets ``rank`` dimensions.
    Without ``signature`` the default one is used, or the first by name that has inputs. Raises NoRequestError, and
    ServerError for invalid metadata.
    """
    try:
        signatures = metadata.get("metadata", {}).get("signature_def", {}).get("signature_def", {})
        name = signature or _default_signature(signatures)
        if name not in signatures:
            has = ", ".join(sorted(signatures)) or "none"
            raise NoRequestError(f"the model has no signature {name!r}, it has {has}")
        inputs = signatures[name].get("inputs", {})
        shapes = {key: _shape(key, info, inner, rank) for key, info in sorted(inputs.items())}
    except _OTHER_SHAPE as error:
        raise ServerError(0, "the metadata describe no signatures as TensorFlow Serving does") from error
    if not shapes:
        raise NoRequestError(f"the signature {name!r} has no inputs")
    _refuse_large(shapes)
    return {"signature_name": name, "inputs": {key: _filled(*shape) for key, shape in shapes.items()}}


def _default_signature(signatures: Mapping[str, Any]) -> str:
    # Names that begin with two underscores are TensorFlow's own (__saved_model_init_op) and take no inputs. REST
    # refuses every request for a signature without inputs, so another one proves the model.
    public = sorted(name for name in signatures if not name.startswith("__"))
    asking = [name for name in ("serving_default", *public) if name in signatures and signatures[name].get("inputs")]
    return asking[0] if asking else "serving_default"


def _shape(name: str, info: Mapping[str, Any], inner: int, rank: int) -> tuple[list[int], Any]:
    """Return the sizes of one row of an input, and the zero of its type."""
    dtype = _text(info.get("dtype", "DT_INVALID"))
    if dtype not in _ZEROS:
        raise NoRequestError(f"the input {name!r} is of type {dtype}, which a REST request cannot hold")
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank") or "tensor_shape" not in info:
        return [1] * rank, _ZEROS[dtype]
    sizes = [_integer(dim.get("size", 0)) for dim in shape.get("dim", [])]
    if len(sizes) > MOST_DIMENSIONS:
        raise NoRequestError(f"the input {name!r} has {len(sizes)} dimensions, more than a tensor can have")
    return [size if size >= 0 else inner if at else 1 for at, size in enumerate(sizes)], _ZEROS[dtype]


def _refuse_large(shapes: Mapping[str, tuple[list[int], Any]]) -> None:
    """Refuse what is too large for a probe: by its values, or its lists, which even an empty dimension has."""
    values = lists = 0
    for name, (sizes, _zero) in shapes.items():
        held = max(accumulate(sizes, mul), default=1)
        if held > MOST_VALUES:
            raise NoRequestError(f"the input {name!r} holds {held} values, too many for a probe")
        values, lists = values + held, lists + sum(accumulate(sizes, mul))
        if values > MOST_VALUES or lists > 2 * MOST_VALUES:
            raise NoRequestError(f"the inputs hold {max(values, lists)} values and lists, too many for a probe")


def _filled(sizes: list[int], value: Any) -> Any:
    return [_filled(sizes[1:], value) for _place in range(sizes[0])] if sizes else value


def given_request(probe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request described by the user's ``probe``."""
    return {key: probe[key] for key in ("signature_name", "instances", "inputs") if probe.get(key) is not None}


def difference(expected: Any, answer: Any, tolerance: float = TOLERANCE, where: str = "answer") -> str:
    """Return where and how ``answer`` differs from ``expected``, or an empty text.

    Numbers are equal within ``tolerance``, relative or absolute, whichever is wider; NaN equals NaN.
    """
    return said(_difference(expected, answer, tolerance, where))


def _difference(expected: Any, answer: Any, tolerance: float, where: str) -> str:
    if isinstance(expected, Mapping) and isinstance(answer, Mapping):
        if set(expected) != set(answer):
            return f"{where} has the keys {sorted(answer)}, expected {sorted(expected)}"
        pairs = [(f"{where}.{key}", expected[key], answer[key]) for key in sorted(expected)]
    elif isinstance(expected, list) and isinstance(answer, list):
        if len(expected) != len(answer):
            return f"{where} has {len(answer)} entries, expected {len(expected)}"
        pairs = [(f"{where}[{index}]", *pair) for index, pair in enumerate(zip(expected, answer))]
    else:
        return "" if _same(expected, answer, tolerance) else f"{where} is {_shown(answer)}, expected {_shown(expected)}"
    return next(filter(None, (_difference(one, other, tolerance, path) for path, one, other in pairs)), "")


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if not (_is_number(one) and _is_number(other)):
        return type(one) is type(other) and one == other
    try:
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer beyond the range of a double
        return bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return shortened(json.dumps(value), 80)


def live_versions(port: int | None, model: str) -> set[int] | None:
    """Return the versions of ``model`` that the server on this host's REST ``port`` has not ended yet.

    An empty set means that the server answers and knows no version; None, that it cannot be queried.
    """
    states = version_states(port, model)
    return None if states is None else {version for version, state in states.items() if state != END}


def version_states(port: int | None, model: str) -> dict[int, str] | None:
    """Return the state of each version of ``model`` in the server on ``port``; None if it cannot be queried."""
    if not port:
        return None
    try:
        return {known.version: known.state for known in Client(port).status(model)}
    except (UnreachableError, ServerError):
        return None
