# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a reply is the expected one: its outputs, their types and shapes, and their values where they are known.

An expectation is ``{"tolerance": 1e-3, "outputs": {NAME: {"dtype", "shape", "values": [flat] | None}}}``, where a size
of -1 means any. The outputs are exactly those named. Floats are equal within the tolerance, relative or absolute,
whichever is wider; NaN equals NaN, and infinities equal themselves; everything else is equal or not. In JSON, a text is
text or ``{"b64": ...}``, a complex number ``[real, imaginary]``.

A server is untrusted: nothing in a reply raises.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from . import messages

WRONG = "wrong_reply"

# A parsed value takes up to 70 bytes, so that no reply takes more than 70 MB.
MOST_VALUES = 1_000_000
# Replies to equal requests are mostly the same bytes, except that protobuf writes the outputs in any order: a few
# remembered digests spare nearly all decoding.
MOST_REMEMBERED = 64
MOST_NAME = 60

_BEGIN = re.compile(rb'\s*\{\s*"(predictions|outputs)"\s*:')


def prepare(expect: Mapping[str, Any] | None, protocol: str) -> Callable[[bytes], str | None]:
    """Return a check of replies: None for a good one, else a word for the kind of error.

    Without an expectation a reply need only be one. Raises ValueError for an expectation that is none.
    """
    wanted = _Wanted.of(expect) if expect else None
    if wanted is None:
        return _is_reply_rest if protocol == "rest" else _is_reply_grpc
    accepted: set[bytes] = set()

    def check(reply: bytes) -> str | None:
        digest = hashlib.blake2b(reply, digest_size=16).digest()
        if digest in accepted:
            return None
        if _difference(wanted, protocol, reply):
            return WRONG
        if len(accepted) < MOST_REMEMBERED:
            accepted.add(digest)
        return None

    return check


def difference(expect: Mapping[str, Any], protocol: str, reply: bytes) -> str:
    """Return in words how a reply departs from the expectation; empty if it does not."""
    return _difference(_Wanted.of(expect), protocol, reply)


def _is_reply_rest(reply: bytes) -> str | None:
    return None if _BEGIN.match(reply) and reply.rstrip().endswith(b"}") else WRONG


def _is_reply_grpc(reply: bytes) -> str | None:
    try:
        return None if messages.parts(reply) else WRONG
    except ValueError:
        return WRONG


class _Output:
    """What is expected of one output."""

    def __init__(self, name: str, wish: Mapping[str, Any]) -> None:
        self.name = name
        self.dtype = str(wish["dtype"])
        self.shape = None if wish.get("shape") is None else tuple(map(int, wish["shape"]))
        held = wish.get("values")
        self.values = None if held is None else [of_json(self.dtype, value) for value in held]
        if self.values is not None and (self.shape is None or prod(self.shape) != len(self.values)):
            raise ValueError(f"the expected output {name} has {len(self.values)} values, which do not fit its shape")

    def misfit(self, dtype: str, shape: Sequence[int]) -> str:
        """Return how a type or a shape departs, in words; empty if neither does."""
        if dtype != self.dtype:
            return f"the output {shown(self.name)} is of type {dtype}, not {self.dtype}"
        if self.shape is None or _fits(self.shape, shape):
            return ""
        return f"the output {shown(self.name)} has the shape {list(shape)[:8]}, not {list(self.shape)[:8]}"


def _fits(wanted: Sequence[int], shape: Sequence[int]) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(size in (-1, each) for size, each in zip(wanted, shape))


class _Wanted:
    def __init__(self, outputs: Sequence[_Output], tolerance: float) -> None:
        self.outputs = outputs
        self.tolerance = tolerance

    @classmethod
    def of(cls, expect: Mapping[str, Any]) -> _Wanted:
        """Return an expectation. Raises ValueError for what is none."""
        try:
            outputs = [_Output(name, wish) for name, wish in expect["outputs"].items()]
            return cls(outputs, float(expect.get("tolerance") or 0.0))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the expected reply is no expectation ({type(error).__name__}: {error})") from None


def _difference(wanted: _Wanted, protocol: str, reply: bytes) -> str:
    try:
        return _of_rest(wanted, reply) if protocol == "rest" else _of_grpc(wanted, reply)
    except (ValueError, RecursionError) as error:
        return f"it is no prediction ({shown(str(error))})"


def _of_grpc(wanted: _Wanted, reply: bytes) -> str:
    found = messages.parts(reply)
    words = _other_names(wanted, found)
    for output in () if words else wanted.outputs:
        part = found[output.name]
        words = words or output.misfit(part.dtype, part.shape)
        if not words and output.values is not None:
            words = _other_values(output, messages.values(part), wanted.tolerance)
    return words


def _other_names(wanted: _Wanted, found: Mapping[str, Any]) -> str:
    names = {output.name for output in wanted.outputs}
    if names == set(found):
        return ""
    return f"its outputs are {_listed(found)}, not {_listed(names)}"


def _listed(names: Any) -> str:
    return ", ".join(shown(str(name)) for name in sorted(names)[:5]) or "none"


def _other_values(output: _Output, found: Sequence[Any], tolerance: float) -> str:
    pairs = zip(output.values or (), found)
    at = next((place for place, pair in enumerate(pairs) if not _same(*pair, tolerance)), None)
    if at is None:
        return ""
    wanted = (output.values or ())[at]
    return f"value {at} of the output {shown(output.name)} is {shown(repr(found[at]))}, not {shown(repr(wanted))}"


def _same(wanted: Any, found: Any, tolerance: float) -> bool:
    if isinstance(wanted, complex):
        return _same(wanted.real, found.real, tolerance) and _same(wanted.imag, found.imag, tolerance)
    if not isinstance(wanted, float):
        return bool(wanted == found)
    if math.isnan(wanted) or math.isnan(found):
        return math.isnan(wanted) and math.isnan(found)
    return math.isclose(wanted, found, rel_tol=tolerance, abs_tol=tolerance)


# --- JSON ----------------------------------------------------------------------------------------------------


def _of_rest(wanted: _Wanted, reply: bytes) -> str:
    if reply.count(b",") > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES} values")
    answer = json.loads(reply.decode("utf-8"))
    if not isinstance(answer, dict) or not {"predictions", "outputs"} & set(answer):
        raise ValueError("it has neither predictions nor outputs")
    by_rows = "predictions" in answer
    names = [output.name for output in wanted.outputs]
    found = columns(names, answer["predictions"] if by_rows else answer["outputs"], by_rows)
    words = _other_names(wanted, found)
    for output in () if words else wanted.outputs:
        words = words or _departure(output, found[output.name], wanted.tolerance)
    return words


def columns(outputs: Sequence[str], held: Any, by_rows: bool) -> dict[str, Any]:
    """Return what REST answers by output. A lone output stands without its name, in rows and in columns.

    Raises ValueError if the answer has another form.
    """
    if by_rows and not isinstance(held, list):
        raise ValueError("its predictions are no list")
    if len(outputs) == 1:
        return {outputs[0]: held}
    if not by_rows:
        return _named(held)
    rows = [_named(row) for row in held]
    names = list(rows[0]) if rows else outputs
    if any(set(row) != set(names) for row in rows):
        raise ValueError("its rows have different outputs")
    return {name: [row[name] for row in rows] for name in names}


def _named(held: Any) -> dict[str, Any]:
    if not isinstance(held, dict):
        raise ValueError("it names no outputs")
    return held


def _departure(output: _Output, held: Any, tolerance: float) -> str:
    """Return how one output in JSON departs. An empty list does not tell the sizes inside of it."""
    shape, rank = _shape(held, output), None if output.shape is None else len(output.shape)
    flat = list(_flat(held, len(shape)))
    if 0 in shape and rank is not None and rank > len(shape) and not flat:
        known = len(shape)
        shape = [*shape, *((output.shape or ())[known:])]
    words = output.misfit(output.dtype, shape)
    if words:
        return words
    if output.values is None and set(map(type, flat)) <= _plain(output.dtype):
        return ""
    values = [of_json(output.dtype, value) for value in flat]
    return "" if output.values is None else _other_values(output, values, tolerance)


def _plain(dtype: str) -> set[type]:
    """Return Python's types that are right for a type whatever the value: a look at them spares reading each value."""
    if dtype in messages.FLOATS:
        return {int, float}
    if dtype in messages.COMPLEX:
        return set()
    return {bool} if dtype == "DT_BOOL" else {str} if dtype == "DT_STRING" else {int}


def _shape(held: Any, output: _Output) -> list[int]:
    """Return the sizes of nested lists along their first elements; a complex number's own pair is none of them."""
    sizes: list[int] = []
    while isinstance(held, list) and (output.shape is None or len(sizes) < len(output.shape)):
        sizes.append(len(held))
        if not held or len(sizes) > messages.MOST_DIMENSIONS:
            break
        held = held[0]
    return sizes


def _flat(held: Any, depth: int) -> Iterator[Any]:
    """Return the values within ``depth`` lists. Raises ValueError if the lists are of unequal lengths."""
    layer = [held]
    for _level in range(depth):
        if any(not isinstance(each, list) or len(each) != len(layer[0]) for each in layer):
            raise ValueError("its lists are of unequal lengths")
        layer = [inner for each in layer for inner in each]
    return iter(layer)


def of_json(dtype: str, value: Any) -> Any:
    """Return one value of a type as it is expected in JSON. Raises ValueError if it is none of that type."""
    if dtype in messages.COMPLEX:
        if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            return complex(*value)
    elif dtype == "DT_STRING":
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
            return _decoded(value["b64"])
    elif dtype == "DT_BOOL":
        if isinstance(value, bool):
            return value
    elif _is_number(value) and (dtype in messages.FLOATS or isinstance(value, int)):
        return _float(value) if dtype in messages.FLOATS else value
    raise ValueError(f"a value is no {dtype}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number is beyond a float") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("a text is no base64") from None


def shown(text: str) -> str:
    """Return a foreign text for use in a sentence: printable and short."""
    cut = text if len(text) <= MOST_NAME else f"{text[: MOST_NAME - 1]}…"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)
