# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors in the JSON of REST: nested lists of values, with texts as they are or as ``{"b64": ...}``."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from ..errors import WishError, described
from ..load import messages
from ..load.messages import Tensor
from ..saved_model.signatures import shown_shape

# Types that the server's JSON reader takes (json_tensor.cc, AddValueToTensor); the others go by gRPC alone.
OF_REST = frozenset(
    {
        *("DT_FLOAT", "DT_DOUBLE", "DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64", "DT_UINT8", "DT_UINT32"),
        *("DT_UINT64", "DT_BOOL", "DT_STRING"),
    }
)

_BITS = {f"DT_{kind}{bits}": (kind, bits) for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)}
# Digits that tell one 32-bit float from another (FLT_DECIMAL_DIG).
_FLOAT_DIGITS = 9

At = Callable[[Sequence[int]], str]


class _Words(NamedTuple):
    kind: str
    remedy: str


def tensor(at: At, dtype: str, wanted: Sequence[int] | None, held: Any) -> Tensor:
    """Return the tensor that nested lists hold.

    ``wanted`` is the shape of the signature, with -1 for free sizes, or None for an unknown rank. ``at`` returns the
    path of a value by its indexes, for messages. Raises WishError for uneven lists, other shapes and other types.
    """
    shape, flat = _nested(at, wanted, held)
    if wanted is not None and any(size not in (-1, here) for size, here in zip(wanted, shape)):
        raise WishError(
            at(()), f"has the shape {shown_shape(shape)}", f"the signature says {shown_shape(tuple(wanted))}"
        )
    if dtype not in messages.DTYPES:
        raise WishError(at(()), f"is for an input of the type {dtype}, which no request can hold", "leave it out")
    read = _reader(dtype)
    values = []
    for place, value in enumerate(flat):
        try:
            values.append(read(value))
        except (ValueError, OverflowError):
            raise WishError(at(unravelled(place, shape)), f"is {described(value)}", f"give {_wanted(dtype)}") from None
    return Tensor(dtype, tuple(shape), values)


def _nested(at: At, wanted: Sequence[int] | None, held: Any) -> tuple[list[int], list[Any]]:
    """Return the shape of nested lists and the values in them, as deep as the signature says or as lists go."""
    shape: list[int] = []
    layer = [held]
    while (wanted is None and layer and isinstance(layer[0], list)) or (
        wanted is not None and len(shape) < len(wanted)
    ):
        if not layer:  # an empty list does not tell the sizes inside of it
            known = len(shape)
            return [*shape, *(max(size, 0) for size in (wanted or ())[known:])], []
        size = len(layer[0]) if isinstance(layer[0], list) else 0
        for place, each in enumerate(layer):
            if not isinstance(each, list):
                raise _flat(at, unravelled(place, shape), each, wanted)
            if len(each) != size:
                words = f"has {len(each)} entries where the first of its kind has {size}"
                raise WishError(at(unravelled(place, shape)), words, "make the lists equally long")
        shape.append(size)
        layer = [inner for each in layer for inner in each]
        if len(shape) > messages.MOST_DIMENSIONS:
            raise WishError(
                at(()), "is nested too deeply", f"a tensor has at most {messages.MOST_DIMENSIONS} dimensions"
            )
    return shape, layer


def _flat(at: At, indexes: Sequence[int], value: Any, wanted: Sequence[int] | None) -> WishError:
    remedy = "give a list" if wanted is None else f"give lists of the shape {shown_shape(tuple(wanted))}"
    return WishError(at(indexes), f"is {described(value)} and not a list", remedy)


def unravelled(place: int, shape: Sequence[int]) -> list[int]:
    """Return the indexes of a flat place."""
    found = []
    for size in reversed(shape):
        place, index = divmod(place, size)
        found.append(index)
    return found[::-1]


# --- single values -------------------------------------------------------------------------------------------


def _reader(dtype: str) -> Callable[[Any], Any]:
    if dtype in messages.COMPLEX:
        return _complex
    if dtype in messages.FLOATS:
        return _rounder(dtype)
    if dtype in _BITS:
        return _integer(*_BITS[dtype])
    return _boolean if dtype == "DT_BOOL" else _text


def _wanted(dtype: str) -> str:
    if dtype in _BITS:
        low, high = _range(*_BITS[dtype])
        return f"a whole number from {low} to {high} ({dtype})"
    words = {"DT_BOOL": "true or false", "DT_STRING": 'a string or {"b64": ...}'}
    words.update(dict.fromkeys(messages.COMPLEX, "a pair of numbers, [real, imaginary]"))
    return f"{words.get(dtype, 'a number within its range')} ({dtype})"


def _range(kind: str, bits: int) -> tuple[int, int]:
    return (0, 2**bits - 1) if kind == "UINT" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _integer(kind: str, bits: int) -> Callable[[Any], int]:
    low, high = _range(kind, bits)

    def read(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise ValueError

    return read


def _rounder(dtype: str) -> Callable[[Any], float]:
    code = {"DT_FLOAT": "<f", "DT_BFLOAT16": "<f", "DT_HALF": "<e", "DT_DOUBLE": "<d"}[dtype]

    def read(value: Any) -> float:
        struct.pack(code, _number(value))  # raises OverflowError beyond its range
        return float(value)

    return read


def _number(value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    raise ValueError


def _complex(value: Any) -> complex:
    if isinstance(value, list) and len(value) == 2:
        return complex(_number(value[0]), _number(value[1]))
    raise ValueError


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error:
            raise ValueError from None
    raise ValueError


# --- tensors to JSON -----------------------------------------------------------------------------------------


def to_json(held: Tensor) -> Any:
    """Return a tensor as nested lists. Only for types of REST."""
    return _folded([_shown(held.dtype, value) for value in held.values], held.shape)


def _shown(dtype: str, value: Any) -> Any:
    if dtype == "DT_STRING":
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value


def expected(dtype: str, value: Any) -> Any:
    """Return a value as it stands in what a reply must be."""
    return [value.real, value.imag] if dtype in messages.COMPLEX else _shown(dtype, value)


def as_written(held: Tensor) -> Tensor:
    """Return a tensor that was read from a message with its floats as people write them."""
    return held._replace(values=[shortest(value) for value in held.values]) if held.dtype == "DT_FLOAT" else held


def shortest(value: float) -> float:
    """Return the shortest decimal that is the same 32-bit float: 0.1 for 0.10000000149011612."""
    exact = struct.pack("<f", value)
    shorter = (float(f"{value:.{digits}g}") for digits in range(6, _FLOAT_DIGITS))
    return next((each for each in shorter if _packs_to(each, exact)), value)


def _packs_to(value: float, exact: bytes) -> bool:
    try:
        return struct.pack("<f", value) == exact
    except OverflowError:
        return False


def _folded(values: list[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return values[0]
    step = prod(shape[1:])
    bounds = [(place * step, (place + 1) * step) for place in range(shape[0])]
    return [_folded(values[begin:end], shape[1:]) for begin, end in bounds]


# --- rows ----------------------------------------------------------------------------------------------------


def with_rows(held: Tensor, rows: int) -> Tensor:
    """Return a tensor of ``rows`` rows, made of those of ``held`` again and again. It has at least one."""
    step = prod(held.shape[1:])
    values = [held.values[row % held.shape[0] * step + place] for row in range(rows) for place in range(step)]
    return Tensor(held.dtype, (rows, *held.shape[1:]), values)


def rows_of(tensors: Sequence[Tensor]) -> int | None:
    """Return the first dimension that all tensors share; None if they have none in common."""
    sizes = {held.shape[0] if held.shape else None for held in tensors}
    return sizes.pop() if len(sizes) == 1 else None
