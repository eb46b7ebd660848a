# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Recorded requests as arrays, and arrays as the JSON of answers."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from .runtime import FailureError, numpy, part, sentence, tensorflow


def inputs(held: dict[str, Any], signature: Any) -> dict[str, Any]:
    """Return the inputs of a request by name. Raises FailureError for what the signature does not take."""
    forms = [key for key in ("instances", "inputs") if key in held]
    if len(forms) != 1:
        raise FailureError("it has not one of instances and inputs")
    wanted = signature.inputs
    value = held[forms[0]]
    columns = _of_rows(value, wanted) if forms[0] == "instances" else _of_columns(value, wanted)
    for name in columns:
        if name not in wanted:
            raise FailureError(f"{str(name)[:100]} is no input of its signature")
    optional = set(getattr(signature, "defaults", ()))
    missing = sorted(set(wanted) - set(columns) - optional)
    if missing:
        raise FailureError(f"it lacks the input {missing[0][:100]}")
    return {name: _array(name, value, wanted[name]) for name, value in columns.items()}


def _is_named(value: Any, wanted: Any) -> bool:
    return isinstance(value, dict) and (set(value) != {"b64"} or "b64" in wanted)


def _of_columns(value: Any, wanted: Any) -> dict[str, Any]:
    if len(wanted) == 1 and not _is_named(value, wanted):
        return {next(iter(wanted)): value}
    if not isinstance(value, dict):
        raise FailureError("its inputs are no mapping")
    return value


def _of_rows(value: Any, wanted: Any) -> dict[str, Any]:
    if not isinstance(value, list) or not value:
        raise FailureError("its instances are no list of rows")
    if len(wanted) == 1 and not _is_named(value[0], wanted):
        return {next(iter(wanted)): value}
    if not all(isinstance(row, dict) and set(row) == set(value[0]) for row in value):
        raise FailureError("its rows have different inputs")
    return {name: [row[name] for row in value] for name in value[0]}


def _array(name: str, value: Any, tensor: Any) -> Any:
    np, dtype = numpy(), tensorflow().as_dtype(tensor.dtype)
    is_text = dtype == tensorflow().string
    try:
        found = np.array(_decoded(value), dtype=object if is_text else dtype.as_numpy_dtype)
    except (ValueError, TypeError, OverflowError, binascii.Error, RecursionError) as error:
        raise FailureError(f"its input {name[:100]} does not fit: {sentence(error)}") from error
    if is_text and not all(isinstance(each, bytes) for each in found.ravel()):
        raise FailureError(f"its input {name[:100]} does not fit: it takes texts")
    if not fits(found.shape, tensor.tensor_shape):
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        raise FailureError(f"its input {name[:100]} has the shape {list(found.shape)} and the signature says {shape}")
    return found


def fits(shape: tuple[int, ...], wanted: Any) -> bool:
    """Return whether a shape is one that a signature allows."""
    if wanted.unknown_rank:
        return True
    sizes = [dim.size for dim in wanted.dim]
    return len(sizes) == len(shape) and all(size in (-1, here) for size, here in zip(sizes, shape))


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    return value.encode() if isinstance(value, str) else value


def plain(array: Any) -> dict[str, Any]:
    """Return an array as a line of answers has it."""
    found = numpy().asarray(array)
    kind = part("tensorflow.core.framework.types_pb2").DataType
    is_text = found.dtype.kind in "OSU"
    dtype = tensorflow().string if is_text else tensorflow().as_dtype(found.dtype)
    values = [_text(each) for each in found.ravel()] if is_text else _numbers(found)
    return {"dtype": kind.Name(dtype.as_datatype_enum), "shape": list(found.shape), "values": values}


def _numbers(array: Any) -> list[Any]:
    # What JSON has no place for (bfloat16, half, complex numbers) is written as the next larger type.
    if array.dtype.kind not in "fiub":
        array = array.astype(numpy().float32)
    return list(array.ravel().tolist())


def _text(value: Any) -> Any:
    held = value.encode() if isinstance(value, str) else bytes(value)
    try:
        return held.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(held).decode("ascii")}
