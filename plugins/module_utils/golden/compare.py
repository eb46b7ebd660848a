# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers compared: with what a golden request expects, and with another version's answer to the same request.

Fractions are equal where ``|answer - expected| <= atol + rtol * |expected|``; NaN equals NaN, and infinities equal
themselves. Whole numbers, truth values and texts are equal or not.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import WishError
from ..load import messages
from ..load.messages import Tensor
from ..saved_model.signatures import shown, shown_shape
from ..visible_text import told
from . import tensors
from .inputs import below, listed

# Floats differ in their last digits between CPUs, batch sizes and builds of libraries.
RTOL, ATOL = 1e-3, 1e-5
MOST_VALUE = 60

# Numbers that JSON has no place for, as texts.
NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DIGITS = re.compile(r"-?[0-9]{1,20}")
# The types that a float has lost digits to: two that were the same before are the same after.
_NARROW = {"DT_FLOAT": "<f", "DT_HALF": "<e"}


@dataclass(frozen=True)
class Expected:
    """What one output must be. ``values`` are nested lists, ``shape`` has -1 for any size; None: not looked at."""

    output: str
    values: Any = None
    shape: Sequence[int] | None = None
    dtype: str | None = None
    rtol: float = RTOL
    atol: float = ATOL


def expected(request: Mapping[str, Any]) -> list[Expected]:
    """Return what a golden request expects, by output."""
    parts = {key: request.get(key) or {} for key in ("expect", "shape", "dtype")}
    names = list(dict.fromkeys(name for part in parts.values() for name in part))
    rtol, atol = request.get("rtol", RTOL), request.get("atol", ATOL)
    values, shapes, dtypes = parts["expect"], parts["shape"], parts["dtype"]
    return [Expected(name, values.get(name), shapes.get(name), dtypes.get(name), rtol, atol) for name in names]


def departure(wanted: Expected, answer: Mapping[str, Tensor]) -> str:
    """Return in words how an output departs from what is expected, by its largest difference; empty if it does not."""
    name, found = shown(wanted.output), answer.get(wanted.output)
    if found is None:
        return f"output {name} is missing (there are {listed(answer) or 'none'})"
    if wanted.dtype is not None and found.dtype != wanted.dtype:
        return f"{name} is {found.dtype}, expected {wanted.dtype}"
    if wanted.shape is not None and not _fits(wanted.shape, found.shape):
        return f"{name} has the shape {shown_shape(found.shape)}, expected {shown_shape(tuple(wanted.shape))}"
    return _other_values(wanted, found) if wanted.values is not None else ""


def _fits(wanted: Sequence[int], shape: Sequence[int]) -> bool:
    return len(wanted) == len(shape) and all(size in (-1, here) for size, here in zip(wanted, shape))


def _other_values(wanted: Expected, found: Tensor) -> str:
    name = shown(wanted.output)
    shape = _shape(wanted.values, found)
    if shape != found.shape:
        return f"{name} has the shape {shown_shape(found.shape)}, expected {shown_shape(shape)}"
    try:
        held = tensors.tensor(below(name), found.dtype, found.shape, _numbers(found.dtype, wanted.values))
    except WishError as error:
        return f"{name} is {found.dtype}, and what is expected is none: {error.path} {error.problem}"
    apart = [
        (distance, at)
        for at, (one, other) in enumerate(zip(held.values, found.values))
        for distance in (_distance(found.dtype, one, other),)
        if distance > _allowed(wanted, found.dtype, one)
    ]
    if not apart:
        return ""
    distance, at = max(apart, key=lambda each: each[0])
    one, other = held.values[at], found.values[at]
    words = f"{below(name)(tensors.unravelled(at, found.shape))} is {_value(other)}, expected {_value(one)}"
    measured = f"{distance:.3g} apart, {_allowed(wanted, found.dtype, one):.3g} allowed; " if _is_float(found) else ""
    return f"{words} ({measured}{len(apart)} of {len(found.values)} values {'differ' if len(apart) > 1 else 'differs'})"


def _shape(values: Any, found: Tensor) -> tuple[int, ...]:
    """Return the sizes of nested lists along their first elements, no deeper than a complex number's own pair."""
    sizes: list[int] = []
    deepest = len(found.shape) if found.dtype in messages.COMPLEX else messages.MOST_DIMENSIONS
    while isinstance(values, list) and len(sizes) < deepest:
        sizes.append(len(values))
        if not values:  # it does not tell the sizes inside of it
            known = len(sizes)
            return (*sizes, *found.shape[known:])
        values = values[0]
    return tuple(sizes)


def _numbers(dtype: str, held: Any) -> Any:
    """Return nested lists with the texts that stand for numbers replaced, where numbers are expected."""
    if isinstance(held, list):
        return [_numbers(dtype, each) for each in held]
    if not isinstance(held, str) or dtype == "DT_STRING":
        return held
    if dtype in messages.FLOATS | messages.COMPLEX:
        return NUMBERS.get(held, held)
    return int(held) if _DIGITS.fullmatch(held) else held


def _is_float(found: Tensor) -> bool:
    return found.dtype in messages.FLOATS or found.dtype in messages.COMPLEX


def _distance(dtype: str, one: Any, other: Any) -> float:
    """Return how far two values are apart: 0 for equal ones, infinity where there is no measure."""
    if dtype in messages.COMPLEX:
        return max(_apart(one.real, other.real), _apart(one.imag, other.imag))
    if dtype in messages.FLOATS:
        return _apart(_narrowed(dtype, one), _narrowed(dtype, other))
    if one == other:
        return 0.0
    return float(abs(one - other)) if isinstance(one, int) and not isinstance(one, bool) else math.inf


def _apart(one: float, other: float) -> float:
    if math.isnan(one) or math.isnan(other):
        return 0.0 if math.isnan(one) and math.isnan(other) else math.inf
    return 0.0 if one == other else abs(one - other)


def _narrowed(dtype: str, value: float) -> float:
    code = _NARROW.get(dtype)
    return float(struct.unpack(code, struct.pack(code, value))[0]) if code else value


def _allowed(wanted: Expected, dtype: str, one: Any) -> float:
    if dtype not in messages.FLOATS and dtype not in messages.COMPLEX:
        return 0.0
    return wanted.atol + wanted.rtol * abs(one) if math.isfinite(abs(one)) else 0.0


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return repr(told(value[: 4 * MOST_VALUE].decode("utf-8", "backslashreplace"), MOST_VALUE))
    return f"{value:.9g}" if isinstance(value, float) else told(str(value), MOST_VALUE)


def parting(request: Mapping[str, Any], rest: Mapping[str, Tensor], grpc: Mapping[str, Tensor]) -> str:
    """Return in words how the answers to one request over both protocols part; empty if they do not.

    REST's numbers stand for the very floats, but the server has worked them out twice: they are equal within the
    request's tolerance, for all outputs.
    """
    wanted = Expected("", rtol=request.get("rtol", RTOL), atol=request.get("atol", ATOL))
    for output in sorted({*rest, *grpc}):
        if output not in rest or output not in grpc:
            return f"{shown(output)} comes over {'REST' if output in rest else 'gRPC'} alone"
        one, other = rest[output], grpc[output]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return f"{shown(output)} is {_kind(one)} over REST and {_kind(other)} over gRPC"
        for at, (left, right) in enumerate(zip(one.values, other.values)):
            if _distance(one.dtype, left, right) > _allowed(wanted, one.dtype, left):
                place = below(shown(output))(tensors.unravelled(at, one.shape))
                return f"{place} is {_value(left)} over REST and {_value(right)} over gRPC"
    return ""


def _kind(held: Tensor) -> str:
    return f"{held.dtype} {shown_shape(held.shape)}"


# --- two versions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How one output differs between two versions, over one request or several.

    ``max_abs`` is the largest distance of two values, ``max_rel`` the largest in proportion to the greater of both;
    ``where`` names the request and the value of the former. Both are 0 for equal answers, and infinite where one is NaN
    or where there is no measure, as for texts. ``note`` says what makes values incomparable.
    """

    output: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    differing: int = 0
    values: int = 0
    where: str = ""
    note: str = ""

    def __str__(self) -> str:
        name = shown(self.output)
        if self.note:
            return f"{name}: {self.note}"
        if not self.differing:
            return f"{name}: equal ({self.values} values)"
        differ = f"{self.differing} of {self.values} values differ"
        if math.isinf(self.max_abs):
            return f"{name}: {differ}, first of all {self.where}"
        return f"{name}: max abs {self.max_abs:.3g}, max rel {self.max_rel:.3g} at {self.where}; {differ}"


def differences(name: str, stable: Mapping[str, Tensor], canary: Mapping[str, Tensor]) -> list[Difference]:
    """Return how the answers of two versions to the request ``name`` differ, one entry an output, by its name."""
    return [_difference(name, output, stable, canary) for output in sorted({*stable, *canary})]


def _difference(name: str, output: str, stable: Mapping[str, Tensor], canary: Mapping[str, Tensor]) -> Difference:
    if output not in stable or output not in canary:
        note = f"only the {'canary' if output in canary else 'stable version'} has it (request {shown(name)})"
        return Difference(output, math.inf, math.inf, note=note)
    one, other = stable[output], canary[output]
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        kinds = f"{_kind(one)} and {_kind(other)}"
        return Difference(output, math.inf, math.inf, note=f"{kinds} (request {shown(name)})")
    apart = list(_distances(one, other))
    if not apart:
        return Difference(output, values=len(one.values))
    largest, at = max(((distance, at) for at, distance, _share in apart), key=lambda each: each[0])
    place = below(shown(output))(tensors.unravelled(at, one.shape))
    where = f"{shown(name)} {place} ({_value(one.values[at])} and {_value(other.values[at])})"
    share = max(share for _at, _distance, share in apart)
    return Difference(output, largest, share, len(apart), len(one.values), where)


def _distances(one: Tensor, other: Tensor) -> Iterator[tuple[int, float, float]]:
    """Yield of every differing pair its place, its distance and that in proportion to the greater of both."""
    for at, (left, right) in enumerate(zip(one.values, other.values)):
        distance = _distance(one.dtype, left, right)
        if distance:
            finite = math.isfinite(distance) and not isinstance(left, bytes)
            yield at, distance, distance / max(abs(left), abs(right)) if finite else math.inf


def merged(found: Iterable[Difference]) -> list[Difference]:
    """Return the differences of several requests, one entry an output, each with the largest ones of all."""
    largest: dict[str, Difference] = {}
    for each in found:
        before = largest.get(each.output)
        if before is None:
            largest[each.output] = each
            continue
        worse = each if each.max_abs > before.max_abs else before
        largest[each.output] = replace(
            worse,
            max_rel=max(each.max_rel, before.max_rel),
            differing=each.differing + before.differing,
            values=each.values + before.values,
            note=before.note or each.note,
        )
    return [largest[output] for output in sorted(largest)]
