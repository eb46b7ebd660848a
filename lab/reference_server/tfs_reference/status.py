# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Status codes shared by the REST and gRPC faces, and the one exception that carries them."""

from __future__ import annotations

# gRPC numbers of the canonical codes, and the HTTP status that upstream's REST face gives for each.
CODES = {
    "OK": (0, 200),
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
NAMES = {number: name for name, (number, _) in CODES.items()}


class StatusError(Exception):
    """An error with a canonical code, the way upstream's absl::Status carries it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        return CODES[self.code][0]

    @property
    def http(self) -> int:
        return CODES[self.code][1]

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid_argument(message: str) -> StatusError:
    return StatusError("INVALID_ARGUMENT", message)


def failed_precondition(message: str) -> StatusError:
    return StatusError("FAILED_PRECONDITION", message)


def not_found(message: str) -> StatusError:
    return StatusError("NOT_FOUND", message)


def of_exception(error: BaseException) -> StatusError:
    """The status of any exception: TensorFlow's errors keep their code, whatever else is INTERNAL."""
    if isinstance(error, StatusError):
        return error
    number = getattr(error, "error_code", None)  # tensorflow.errors.OpError
    if number in NAMES:
        return StatusError(NAMES[number], str(getattr(error, "message", error)))
    return StatusError("INTERNAL", f"{type(error).__name__}: {error}")
