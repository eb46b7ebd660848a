# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A golden request: its bodies for both protocols, and the judgement of what came back.

As plain data it is one line of the file, checked and completed on the controller (plugin_utils/wishes/golden.py):
``{"name", "line", "inputs" | "instances", "signature_name"?, "expect"?, "shape"?, "dtype"?, "rtol", "atol",
"max_latency_ms"?, "must_fail"?}``. Numbers that JSON has no place for are texts in ``expect``: ``"NaN"``,
``"Infinity"``, ``"-Infinity"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import WishError
from ..load import messages, replies
from ..load.messages import Tensor
from ..saved_model.signatures import DEFAULT, Signature, shown
from . import compare, inputs, tensors
from .inputs import COLUMNS, ROWS, Asked, Place

Request = Mapping[str, Any]

# The statuses of a refusal that is about the request. The others are about the server: it does not know the model
# (404), or not now (429, 503), or it took too long (408, 504).
NOT_OF_THE_REQUEST = frozenset({0, 404, 408, 429, 503, 504})
# The same of gRPC's, as REST would answer: cancelled, unknown, too late, not found, exhausted, no such method,
# unavailable. Every other one is about the request.
_OF_GRPC = {1: 0, 2: 0, 4: 504, 5: 404, 8: 429, 12: 0, 14: 503}


def signature_name(request: Request) -> str:
    """Return the signature that a request is for: like the server, the default one unless it names another."""
    return str(request.get("signature_name") or DEFAULT)


def rest_body(request: Request) -> dict[str, Any]:
    """Return the body of the request over REST."""
    return {key: request[key] for key in ("signature_name", ROWS, COLUMNS) if request.get(key) is not None}


def tensors_of(request: Request, model: str, signature: Signature, path: str = "") -> dict[str, Tensor]:
    """Return the inputs of a request as a signature has them. Raises WishError if it does not take them.

    ``path`` is the place of the request, for messages.
    """
    place = Place(path or str(request["name"]), ": ")
    return inputs.read(place, request, Asked(model, signature_name(request), signature))


def grpc_body(
    request: Request, model: str, signature: Signature, version: int | None = None, label: str | None = None
) -> bytes:
    """Return the PredictRequest of the request over gRPC. Raises WishError if the signature does not take it."""
    held = tensors_of(request, model, signature)
    return messages.encode_request(model, signature_name(request), held, version, label)


def of_rest(request: Request, answer: Any, signature: Signature) -> dict[str, Tensor]:
    """Return an answer over REST, its predictions or its outputs, by output. Raises ValueError if it is none.

    REST says nothing of types: each output is read as the type that the signature gives it.
    """
    held = replies.columns(list(signature.outputs), answer, ROWS in request)
    return {name: _tensor(name, value, signature) for name, value in held.items()}


def _tensor(name: str, held: Any, signature: Signature) -> Tensor:
    of = signature.outputs.get(name)
    if of is None:
        raise ValueError(f"the output {shown(name)} is not in its signature")
    try:
        return tensors.tensor(inputs.below(shown(name)), of.dtype, of.shape, held)
    except WishError as error:
        raise ValueError(f"{error.path} {error.problem}") from None


def of_grpc(reply: bytes) -> dict[str, Tensor]:
    """Return the outputs of a PredictResponse. Raises ValueError if it is none."""
    return messages.decode_response(reply)


def faults(request: Request, answer: Mapping[str, Tensor], latency_ms: float | None = None) -> list[str]:
    """Return in words how an answer departs from what the request expects: each output once, then the latency.

    ``latency_ms`` None: the latency does not count.
    """
    if request.get("must_fail"):
        return ["it was answered, and must fail"]
    departures = (compare.departure(output, answer) for output in compare.expected(request))
    found = [words for words in departures if words]
    most = request.get("max_latency_ms")
    if most is not None and latency_ms is not None and latency_ms > most:
        found.append(f"it took {latency_ms:.1f} ms, more than {most:g} ms")
    return found


def status_of_grpc(code: int) -> int:
    """Return the HTTP status with the meaning of a status of gRPC, for ``fault_of_error``."""
    return _OF_GRPC.get(code, 400)


def fault_of_error(request: Request, status: int, words: str) -> str:
    """Return in words what is wrong with a refusal, an HTTP status and the server's text; empty for a wanted one."""
    if not request.get("must_fail"):
        return words
    return f"it must fail for what it asks, and the server says {words}" if status in NOT_OF_THE_REQUEST else ""
