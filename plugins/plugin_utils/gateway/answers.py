# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the gateway itself answers to gRPC calls.

HAProxy's own answers are HTTP errors, of which gRPC's clients make UNAVAILABLE in most cases, and that is what they
send again: a limit on calls would be answered by more of them. So each error is a gRPC status with words.
"""

from __future__ import annotations

from collections.abc import Sequence

from .schema import Error

# By HTTP's code (those that HAProxy makes, doc/configuration.txt "errorfile"): gRPC's status and the words.
# 14 UNAVAILABLE, 13 INTERNAL, 12 UNIMPLEMENTED, 8 RESOURCE_EXHAUSTED, 7 PERMISSION_DENIED, 4 DEADLINE_EXCEEDED.
_STATUS: dict[int, tuple[int, str]] = {
    400: (13, "the gateway could not read the request"),
    403: (7, "the gateway does not let this call pass"),
    404: (12, "the gateway does not know this method"),
    408: (4, "the request did not arrive in time"),
    413: (8, "the request is larger than the gateway lets pass"),
    429: (8, "too many calls"),
    500: (13, "the gateway failed"),
    502: (14, "the server died or broke off its answer"),
    503: (14, "no server is ready for this model"),
    504: (4, "the server did not answer in time"),
}

# Of all methods that the server has, those that only answer.
METHODS = (
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
)


def errors() -> list[Error]:
    """Return the answers in place of HTTP errors, each the content of a file."""
    return [
        {"name": f"grpc-{code}", "code": code, "status": status, "text": text}
        for code, (status, text) in _STATUS.items()
    ]


def methods(more: Sequence[str]) -> list[str]:
    """Return the gRPC methods that are open."""
    return [*METHODS, *(each for each in dict.fromkeys(more) if each not in METHODS)]
