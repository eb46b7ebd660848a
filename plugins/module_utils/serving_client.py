# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving's REST interface as seen from its own host, and what may be concluded from its answers.

Two habits of the server shape this file. Status 200 says that a model is known, never that it serves: only a version in
state AVAILABLE does. And the status path accepts a label without using it, while metadata and predictions resolve it.
"""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

AVAILABLE = "AVAILABLE"
END = "END"

# A status call reads a map and answers at once; a server that is slower than this is not well.
STATUS_TIMEOUT_S = 5.0
# The server's own limit for a REST call is 30 s (rest_api_timeout_in_ms); a little more lets its error arrive.
PREDICT_TIMEOUT_S = 31.0
# A probe is an example. A request beyond this many values would load the server instead of asking it.
MOST_VALUES = 1_000_000
# Floats differ between CPUs and between library builds in the last digits.
TOLERANCE = 1e-3

_HEADERS = {"Content-Type": "application/json", "User-Agent": "tfserving.fleet"}

# Type -> the zero of that type, for every type that the server's JSON reader takes (json_tensor.cc, AddValueToTensor).
_ZEROS: dict[str, Any] = {
    **dict.fromkeys(("DT_FLOAT", "DT_DOUBLE"), 0.0),
    **dict.fromkeys(("DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64"), 0),
    **dict.fromkeys(("DT_UINT8", "DT_UINT32", "DT_UINT64"), 0),
    "DT_BOOL": False,
    # Written in base64, the form that serves text and bytes alike.
    "DT_STRING": {"b64": ""},
}


class UnreachableError(Exception):
    """Nobody answered on the port, or not in time."""


class ServerError(Exception):
    """The server answered with an error: ``code`` is the HTTP status, 0 where it is no TensorFlow Serving at all."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class NoRequestError(Exception):
    """No request can be made up for a signature; the text says why."""


@dataclass(frozen=True)
class Version:
    """One version's state in the server; ``error`` is empty unless its load failed."""

    version: int
    state: str
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether the load failed. END without an error means that it was unloaded on purpose."""
        return self.state == END and bool(self.error)


class Client:
    """Asks one server. Talks to the socket directly: a proxy of the environment has no place on loopback."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host

    def status(self, model: str) -> list[Version]:
        """Return every version that the server ever knew of ``model``, ascending; none for an unknown model."""
        try:
            answer = self._call("GET", _path(model), timeout=STATUS_TIMEOUT_S)
        except ServerError as error:
            if error.code == http.client.NOT_FOUND:
                return []
            raise
        return sorted(map(_version, answer.get("model_version_status", [])), key=lambda entry: entry.version)

    def metadata(self, model: str, label: str | None = None) -> dict[str, Any]:
        """Return the metadata of the version that serves ``model`` (under ``label``)."""
        return self._call("GET", _path(model, label) + "/metadata", timeout=STATUS_TIMEOUT_S)

    def predict(self, model: str, body: Mapping[str, Any], label: str | None = None) -> tuple[Any, float]:
        """Return the prediction for the request ``body`` and the time it took in milliseconds."""
        started = time.perf_counter()
        answer = self._call("POST", _path(model, label) + ":predict", body, PREDICT_TIMEOUT_S)
        return answer.get("predictions", answer.get("outputs")), (time.perf_counter() - started) * 1000

    def _call(self, method: str, path: str, body: Any = None, timeout: float = STATUS_TIMEOUT_S) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), _HEADERS)
            response = connection.getresponse()
            return _answer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"port {self.port} does not answer ({error or type(error).__name__})") from error
        finally:
            connection.close()


def _path(model: str, label: str | None = None) -> str:
    path = f"/v1/models/{quote(model, safe='')}"
    return path if label is None else f"{path}/labels/{quote(label, safe='')}"


def _answer(code: int, raw: bytes) -> dict[str, Any]:
    text = raw.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ServerError(0, f"answered {code} without JSON, so it is no TensorFlow Serving: {shortened(text, 120)!r}")
    if code != http.client.OK:
        raise ServerError(code, str(answer.get("error", text)))
    return answer


def _version(entry: Mapping[str, Any]) -> Version:
    status = entry.get("status", {})
    code = status.get("error_code", "OK")
    error = "" if code == "OK" else f"{code}: {status.get('error_message', '')}".rstrip(": ")
    return Version(int(entry["version"]), entry.get("state", "UNKNOWN"), error)


def served_version(metadata: Mapping[str, Any]) -> int:
    """Return the version that answered a metadata call."""
    return int(metadata["model_spec"]["version"])


def wanted_versions(policy: Mapping[str, Any] | None, on_disk: Iterable[int]) -> list[int]:
    """Return the versions that ``model_version_policy`` selects, ascending.

    ``specific`` is returned as listed, on disk or not; a missing policy is the server's own default, the latest one.
    """
    policy = policy or {}
    if "specific" in policy:
        return sorted({int(version) for version in policy["specific"]["versions"]})
    present = sorted(set(on_disk))
    if "all" in policy:
        return present
    return present[-int((policy.get("latest") or {}).get("num_versions", 1)) :]


def zero_request(metadata: Mapping[str, Any], signature: str | None = None) -> dict[str, Any]:
    """Return a request in column form that gives every input of a signature zeros, a single row of them.

    Free dimensions become 1. Without ``signature`` the default one is used, or the first by name. Raises
    NoRequestError.
    """
    signatures = metadata.get("metadata", {}).get("signature_def", {}).get("signature_def", {})
    name = signature or _default_signature(signatures)
    if name not in signatures:
        raise NoRequestError(f"the model has no signature {name!r}, it has {', '.join(sorted(signatures)) or 'none'}")
    inputs = signatures[name].get("inputs", {})
    if not inputs:
        raise NoRequestError(f"the signature {name!r} has no inputs")
    return {"signature_name": name, "inputs": {key: _zeros(key, info) for key, info in sorted(inputs.items())}}


def _default_signature(signatures: Mapping[str, Any]) -> str:
    # Signatures that begin with two underscores are TensorFlow's own (__saved_model_init_op) and take no inputs.
    public = sorted(name for name in signatures if not name.startswith("__"))
    return "serving_default" if "serving_default" in signatures or not public else public[0]


def _zeros(name: str, info: Mapping[str, Any]) -> Any:
    dtype = info.get("dtype", "DT_INVALID")
    if dtype not in _ZEROS:
        raise NoRequestError(f"the input {name!r} is of type {dtype}, which a REST request cannot hold")
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        raise NoRequestError(f"the input {name!r} is of unknown rank")
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", [])]
    sizes = [1 if size < 0 else size for size in sizes]
    if math.prod(sizes) > MOST_VALUES:
        raise NoRequestError(f"the input {name!r} holds {math.prod(sizes)} values, too many for a probe")
    return _filled(sizes, _ZEROS[dtype])


def _filled(sizes: list[int], value: Any) -> Any:
    return [_filled(sizes[1:], value) for _ in range(sizes[0])] if sizes else value


def given_request(probe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that the user's ``probe`` describes."""
    return {key: probe[key] for key in ("signature_name", "instances", "inputs") if probe.get(key) is not None}


def difference(expected: Any, answer: Any, tolerance: float = TOLERANCE, where: str = "answer") -> str:
    """Return where and how ``answer`` departs from ``expected``, or an empty text.

    Numbers are equal within ``tolerance``, relative or absolute, whichever allows more; NaN equals NaN.
    """
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
    return next(filter(None, (difference(one, other, tolerance, path) for path, one, other in pairs)), "")


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if not (_is_number(one) and _is_number(other)):
        return type(one) is type(other) and one == other
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return shortened(json.dumps(value), 80)


def shortened(text: str, length: int) -> str:
    """Return ``text`` cut to ``length`` characters, the cut marked."""
    return text if len(text) <= length else text[: length - 1] + "…"
