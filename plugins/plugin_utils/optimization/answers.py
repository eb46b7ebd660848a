# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model or of a candidate as the builder's program writes them (answers.jsonl), one JSON object a line.

``{"request": 0, "batch_size": 8, "error": "", "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [1], "values": [0.5]}}}``

``request`` is the number of the request in the file that the builder was given, from 0 on, and ``batch_size`` the rows
that were answered at once, null for a request as it was recorded. ``values`` are flat, the last dimension fastest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.compare import NUMBERS
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import COMPLEX, FLOATS, Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

# Of 10,000 requests at some twenty sizes; what has more is no file of the builder.
MOST_LINES = 200_000
# As for a sample of a benchmark (samples.MOST_LINE_BYTES), whose answer is rarely longer than itself.
MOST_LINE_BYTES = 10 * 1024 * 1024
MOST_WORDS = 300


@dataclass(frozen=True)
class Answer:
    """What came of one request; ``error`` is empty unless it was refused."""

    request: int
    size: int = 0
    """The rows that were answered at once; 0 for a request as it was recorded."""
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    error: str = ""


def read(name: str, lines: Iterable[bytes]) -> list[Answer]:
    """Return the answers of a file. Raises WishError with the line that is none."""
    found = []
    for number, line in enumerate(lines, 1):
        if number > MOST_LINES or len(line) > MOST_LINE_BYTES:
            raise WishError(f"{name}:{number}", "is beyond what answers of a model have", "give fewer requests")
        if not line.strip():
            continue
        try:
            found.append(_answer(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            words = f"is no answer of the builder ({told(str(error), MOST_WORDS)})"
            raise WishError(f"{name}:{number}", words, "look at the builder's log") from None
    return found


def _answer(held: Mapping[str, Any]) -> Answer:
    request, size = held["request"], held.get("batch_size") or 0
    if type(request) is not int or type(size) is not int or min(request, size) < 0:
        raise ValueError("request and batch_size are whole numbers")
    if held.get("error"):
        return Answer(request, size, error=told(str(held["error"]), MOST_WORDS))
    return Answer(request, size, {str(name): _tensor(each) for name, each in held["outputs"].items()})


def _tensor(held: Mapping[str, Any]) -> Tensor:
    dtype, shape, values = str(held["dtype"]), tuple(int(size) for size in held["shape"]), held["values"]
    if len(values) != prod(shape):
        raise ValueError(f"{len(values)} values for the shape {list(shape)}")
    return Tensor(dtype, shape, list(map(_reader(dtype), values)))


def _reader(dtype: str) -> Callable[[Any], Any]:
    if dtype in FLOATS:
        return lambda value: float(NUMBERS.get(value, value) if isinstance(value, str) else value)
    if dtype in COMPLEX:
        return lambda value: complex(float(value[0]), float(value[1]))
    return _text if dtype == "DT_STRING" else _whole


def _text(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["b64"], validate=True)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)
