# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TensorProto to NumPy and back, on the request path (hence without TensorFlow's slower general helpers)."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfs_reference.status import StatusError, invalid_argument

MAX_RANK = 254  # the runtime's TensorShape
NUMPY_MAX_RANK = 64
# A few bytes may ask for a tensor of any size, because one value fills the rest; upstream then dies of it.
MAX_FILL_BYTES = 2**30

# DataType -> (NumPy type, the repeated field that holds its values)
_TYPES = {
    types_pb2.DT_FLOAT: (np.dtype(np.float32), "float_val"),
    types_pb2.DT_DOUBLE: (np.dtype(np.float64), "double_val"),
    types_pb2.DT_INT8: (np.dtype(np.int8), "int_val"),
    types_pb2.DT_INT16: (np.dtype(np.int16), "int_val"),
    types_pb2.DT_INT32: (np.dtype(np.int32), "int_val"),
    types_pb2.DT_INT64: (np.dtype(np.int64), "int64_val"),
    types_pb2.DT_UINT8: (np.dtype(np.uint8), "int_val"),
    types_pb2.DT_UINT16: (np.dtype(np.uint16), "int_val"),
    types_pb2.DT_UINT32: (np.dtype(np.uint32), "uint32_val"),
    types_pb2.DT_UINT64: (np.dtype(np.uint64), "uint64_val"),
    types_pb2.DT_BOOL: (np.dtype(np.bool_), "bool_val"),
    types_pb2.DT_HALF: (np.dtype(np.float16), "half_val"),
    types_pb2.DT_BFLOAT16: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    types_pb2.DT_COMPLEX64: (np.dtype(np.complex64), "scomplex_val"),
    types_pb2.DT_COMPLEX128: (np.dtype(np.complex128), "dcomplex_val"),
    types_pb2.DT_STRING: (np.dtype(object), "string_val"),
}
_DATA_TYPES = {dtype: data_type for data_type, (dtype, _) in _TYPES.items()}


def type_name(data_type: int) -> str:
    """DT_FLOAT -> "float", the way error messages print types."""
    if data_type not in types_pb2.DataType.values():
        return f"unknown dtype enum ({data_type})"
    return types_pb2.DataType.Name(data_type).removeprefix("DT_").lower()


def type_of(array: np.ndarray) -> int:
    """The DataType of an array; DT_INVALID where this server has none."""
    return _DATA_TYPES.get(array.dtype, types_pb2.DT_INVALID)


def numpy_type(data_type: int) -> np.dtype | None:
    """None for types that this server cannot hold (resources, variants, quantised ones)."""
    return _TYPES[data_type][0] if data_type in _TYPES else None


def to_array(proto: Any, name: str) -> np.ndarray:
    """The array of a TensorProto; raises INVALID_ARGUMENT for what the runtime cannot read, or not hold.

    As the runtime reads it: no values stand for zeros, too many are cut off, and the last one fills what is missing.
    """
    dtype = numpy_type(proto.dtype)
    shape = _shape(proto.tensor_shape)
    if dtype is None or shape is None or len(shape) > NUMPY_MAX_RANK:
        raise invalid_argument(f"tensor parsing error: {name}")
    size = math.prod(shape)
    if proto.tensor_content and size:
        values = _content_values(proto, dtype, size)
    else:
        values = _filled(_field_values(proto, dtype, size), dtype, size)
    # NumPy counts the bytes of an empty array as if no dimension were 0.
    if values is None or math.prod(filter(None, shape)) * dtype.itemsize >= 2**63:
        raise invalid_argument(f"tensor parsing error: {name}")
    return values.reshape(shape)


def _shape(proto: Any) -> list[int] | None:
    """None where the runtime takes the shape for invalid: unknown, negative, too many dimensions or elements."""
    shape = [dimension.size for dimension in proto.dim]
    if proto.unknown_rank or len(shape) > MAX_RANK or any(size < 0 for size in shape):
        return None
    elements = 1
    for size in shape:  # in the runtime's order: a zero further on does not mend an overflow before it
        elements *= size
        if elements >= 2**63:
            return None
    return shape


def _content_values(proto: Any, dtype: np.dtype, size: int) -> np.ndarray | None:
    content = proto.tensor_content
    if dtype.hasobject:
        return _content_strings(content, size)
    return np.frombuffer(content, dtype) if len(content) == size * dtype.itemsize else None


def _content_strings(content: bytes, size: int) -> np.ndarray | None:
    """Strings in tensor_content: the lengths of all as varints first, then their bytes one after the other."""
    if size > len(content):
        return None
    lengths, position = [], 0
    for _ in range(size):
        length, position = _varint(content, position)
        if length is None:
            return None
        lengths.append(length)
    if position + sum(lengths) != len(content):
        return None
    array = np.empty(size, dtype=object)
    for index, length in enumerate(lengths):
        array[index] = content[position : position + length]
        position += length
    return array


def _varint(content: bytes, position: int) -> tuple[int | None, int]:
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value if value < 2**32 else None), position
    return None, position


def _filled(values: np.ndarray, dtype: np.dtype, size: int) -> np.ndarray | None:
    missing = size - len(values)
    if not missing:
        return values
    if missing * dtype.itemsize > MAX_FILL_BYTES:
        return None
    filler = values[-1] if len(values) else b"" if dtype.hasobject else 0
    array = np.full(size, filler, dtype)
    array[: len(values)] = values
    return array


def _field_values(proto: Any, dtype: np.dtype, size: int) -> np.ndarray:
    """At most the first `size` values; what does not fit the type is cut down to its bits, as the runtime does."""
    field = _TYPES[proto.dtype][1]
    per_value = 2 if dtype.kind == "c" else 1  # real and imaginary part
    values = getattr(proto, field)[: size * per_value]
    if dtype.hasobject:
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
        return array
    if field == "half_val":  # held as their bits
        return np.array(values, np.int64).astype(np.uint16).view(dtype)
    if field == "int_val":
        return np.array(values, np.int64).astype(dtype)
    if dtype.kind == "c":
        parts = np.array(values[: len(values) // 2 * 2], np.float32 if dtype.itemsize == 8 else np.float64)
        return parts.view(dtype)
    return np.array(values, dtype)


def to_proto(array: np.ndarray, as_content: bool = False) -> Any:
    """The TensorProto of an array, in typed fields or (numbers only) packed into tensor_content."""
    data_type = _DATA_TYPES.get(array.dtype)
    if data_type is None:
        raise StatusError("UNIMPLEMENTED", f"the reference server cannot answer tensors of type {array.dtype.name}")
    proto = tensor_pb2.TensorProto(dtype=data_type)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if as_content and not array.dtype.hasobject:
        proto.tensor_content = array.tobytes()
        return proto
    flat = array.ravel()
    if data_type in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):
        flat = flat.view(np.uint16)
    if array.dtype.kind == "c":
        flat = flat.view(flat.real.dtype)
    getattr(proto, _TYPES[data_type][1]).extend(flat.tolist())
    return proto
