# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model or of a candidate as the builder writes them, one JSON object a line.

``{"request": 0, "outputs": {"score": {"dtype": "DT_FLOAT", "shape": [2], "values": [0.5, 0.25]}}}``

``request`` is the number of the request, from 0 on, as they stand in the file that the builder was given. ``values``
are flat, the last dimension fastest; texts are base64, and numbers that JSON has no place for are texts. A request that
the model refuses has ``error`` in place of ``outputs``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.compare import NUMBERS
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import COMPLEX, FLOATS, Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

# 10,000 requests and some hundred batches; what has more is no file of the builder.
MOST_LINES = 20_000
# As for a sample of a benchmark (samples.MOST_LINE_BYTES), whose answer is rarely longer than itself.
MOST_LINE_BYTES = 10 * 1024 * 1024
MOST_WORDS = 300


@dataclass(frozen=True)
class Answer:
    """What came of one request; ``error`` is empty unless it was refused."""

    request: int
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
    request = held["request"]
    if type(request) is not int or request < 0:
        raise ValueError("request is a whole number")
    if held.get("error"):
        return Answer(request, error=told(str(held["error"]), MOST_WORDS))
    return Answer(request, {str(name): _tensor(each) for name, each in held["outputs"].items()})


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
    return base64.b64decode if dtype == "DT_STRING" else _whole


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def written(answers: Iterable[Answer]) -> Iterator[str]:
    """Yield the lines that ``read`` reads."""
    for each in answers:
        outputs = {
            name: {"dtype": held.dtype, "shape": list(held.shape), "values": [_plain(value) for value in held.values]}
            for name, held in each.outputs.items()
        }
        content = {"error": each.error} if each.error else {"outputs": outputs}
        yield json.dumps({"request": each.request, **content})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, complex):
        return [value.real, value.imag]
    finite = not isinstance(value, float) or abs(value) < float("inf")
    return value if finite else next((word for word, held in NUMBERS.items() if held == value), "NaN")
