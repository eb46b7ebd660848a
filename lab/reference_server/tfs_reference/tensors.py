# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TensorProto to NumPy and back, on the request path (hence without TensorFlow's slower general helpers)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfs_reference.status import invalid_argument

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
    types_pb2.DT_STRING: (np.dtype(object), "string_val"),
}
_DATA_TYPES = {dtype: data_type for data_type, (dtype, _) in _TYPES.items()}


def type_name(data_type: int) -> str:
    """DT_FLOAT -> "float", the way error messages print types."""
    return types_pb2.DataType.Name(data_type).removeprefix("DT_").lower()


def numpy_type(data_type: int) -> np.dtype:
    """Raises INVALID_ARGUMENT for types that no request can carry (resources, variants, quantised types)."""
    if data_type not in _TYPES:
        raise invalid_argument(f"unsupported tensor type: {type_name(data_type)}")
    return _TYPES[data_type][0]


def to_array(proto: Any, name: str) -> np.ndarray:
    """The array of a TensorProto; raises INVALID_ARGUMENT when its values do not fill its shape."""
    dtype = numpy_type(proto.dtype)
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    size = int(np.prod(shape)) if shape else 1
    if proto.tensor_content and not dtype.hasobject:
        if len(proto.tensor_content) != size * dtype.itemsize:
            raise invalid_argument(f"tensor parsing error: {name}")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = _field_values(proto, dtype)
    if len(values) > size or (size and not len(values)):
        raise invalid_argument(f"tensor parsing error: {name}")
    if len(values) < size:  # the last value stands for all that follow it
        values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    return values.reshape(shape)


def _field_values(proto: Any, dtype: np.dtype) -> np.ndarray:
    values = getattr(proto, _TYPES[proto.dtype][1])
    if dtype.hasobject:
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
        return array
    if proto.dtype in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):  # held as their bits
        return np.array(values, np.uint16).view(dtype)
    return np.array(values, dtype)


def to_proto(array: np.ndarray, as_content: bool = False) -> Any:
    """The TensorProto of an array, in typed fields or (numbers only) packed into tensor_content."""
    array = np.asarray(array)
    data_type = _DATA_TYPES[array.dtype]
    proto = tensor_pb2.TensorProto(dtype=data_type)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if as_content and not array.dtype.hasobject:
        proto.tensor_content = array.tobytes()
        return proto
    flat = array.ravel()
    if data_type in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):
        flat = flat.view(np.uint16)
    getattr(proto, _TYPES[data_type][1]).extend(flat.tolist())
    return proto
