# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""REST request bodies: JSON to arrays (predict) and to tf.Example (classify, regress), with upstream's messages."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2

from tfs_reference import json_reader, tensors
from tfs_reference.json_text import quote
from tfs_reference.status import StatusError, invalid_argument

_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_INTEGERS = {
    # Upstream reads the small types as 32-bit integers and cuts them to their bits.
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT64: _INT64,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_UINT32: range(2**32),
    types_pb2.DT_UINT64: range(2**64),
}
_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE)


@dataclass(frozen=True)
class Document:
    """A parsed body: its members, and whether `true` or `false` stand in it, which NumPy would take for numbers."""

    members: dict[str, Any]
    has_booleans: bool

    def refusal(self, problem: str) -> StatusError:
        return invalid_argument(f"JSON Value: {quote(self.members)} {problem}")


def parse(body: bytes) -> Document:
    """Raises INVALID_ARGUMENT for what is no JSON, or no object."""
    value = json_reader.parse(body)
    if not isinstance(value, dict):
        raise invalid_argument(f"JSON Value: {quote(value)} Is not object")
    return Document(value, b"true" in body or b"false" in body)


def signature_name(document: Document) -> str:
    name = document.members.get("signature_name", "")
    if not isinstance(name, str):
        raise document.refusal("not formatted correctly. 'signature_name' key must be a string value.")
    return name


def predict_inputs(document: Document, infos: dict[str, Any]) -> tuple[dict[str, np.ndarray], bool]:
    """(arrays by input name, whether the request was in row form). `infos`: the signature's TensorInfo by name."""
    members = document.members
    if "instances" in members and "inputs" in members:
        raise document.refusal("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if "instances" in members:
        return _rows(document, infos), True
    if "inputs" in members:
        return _columns(document, infos), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


# -- row form ----------------------------------------------------------------------------------------------------------


def _rows(document: Document, infos: dict[str, Any]) -> dict[str, np.ndarray]:
    instances = document.members["instances"]
    if not isinstance(instances, list):
        raise document.refusal("Expecting 'instances' to be an list/array")
    if not instances:
        raise document.refusal("No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named_object(instances[0])
    quick = _quick_rows(document, infos, named)
    return _exact_rows(instances, infos, named) if quick is None else quick


def _quick_rows(document: Document, infos: dict[str, Any], named: bool) -> dict[str, np.ndarray] | None:
    """All rows at once, where they have exactly the names asked for and NumPy makes the right arrays of them."""
    instances = document.members["instances"]
    if named and not all(_is_named_object(row) and row.keys() == infos.keys() for row in instances):
        return None
    arrays = {}
    for name in infos if named else [next(iter(infos))]:
        values = [row[name] for row in instances] if named else instances
        arrays[name] = _quick_array(values, infos[name].dtype, document.has_booleans)
        if arrays[name] is None:
            return None
    return arrays


@dataclass
class _Column:
    """The values of one input over all rows, which must agree in size and shape."""

    data_type: int
    flat: list[Any] = field(default_factory=list)
    shape: list[int] | None = None
    size: int = 0

    def add(self, value: Any) -> None:
        shape, before = _shape(value), len(self.flat)
        _fill(value, shape, 0, self.data_type, self.flat)
        size = len(self.flat) - before
        if self.shape is None:
            self.shape, self.size = shape, size
        elif size != self.size:
            raise invalid_argument(f"Expecting tensor size: {self.size} but got: {size}")
        elif shape != self.shape:
            raise invalid_argument(f"Expecting shape {_shape_text(self.shape)} but got: {_shape_text(shape)}")


def _exact_rows(instances: list[Any], infos: dict[str, Any], named: bool) -> dict[str, np.ndarray]:
    """Row after row as upstream does, to fail with its message at the first thing that is wrong."""
    names = infos.keys() if named else [next(iter(infos))]
    columns = {name: _Column(infos[name].dtype) for name in names}
    for position, row in enumerate(instances):
        if named:
            _add_named_row(position, row, columns)
        else:
            _add_plain_row(position, row, next(iter(columns.values())))
    return {
        name: _array_of(column.flat, [len(instances), *(column.shape or [])], column.data_type, name)
        for name, column in columns.items()
    }


def _add_plain_row(position: int, row: Any, column: _Column) -> None:
    if _is_named_object(row):
        raise invalid_argument(f"Expecting value/list but got object at item {position} of input list")
    try:
        column.add(row)
    except StatusError as error:
        raise invalid_argument(f"Failed to process element: {position} of 'instances' list. Error: {error}") from None


def _add_named_row(position: int, row: Any, columns: dict[str, _Column]) -> None:
    if not _is_named_object(row):
        raise invalid_argument(f"Expecting object but got list at item {position} of input list")
    for name, value in row.items():
        try:
            if name not in columns:
                raise invalid_argument(f"JSON object: does not have named input: {name}")
            columns[name].add(value)
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {position} key: {name} of 'instances' list. Error: {error}"
            ) from None
    if row.keys() != columns.keys():
        raise invalid_argument(
            f"Failed to process element: {position} of 'instances' list. JSON object: {quote(row)} keys must be "
            f"equal to: {','.join(sorted(columns))}"
        )


def _shape_text(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


# -- column form -------------------------------------------------------------------------------------------------------


def _columns(document: Document, infos: dict[str, Any]) -> dict[str, np.ndarray]:
    inputs = document.members["inputs"]
    if not _is_named_object(inputs):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        inputs = {next(iter(infos)): inputs}
    arrays = {}
    for name, info in infos.items():
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _array(inputs[name], info.dtype, document.has_booleans, name)
    return arrays


def _array(value: Any, data_type: int, has_booleans: bool, name: str) -> np.ndarray:
    array = _quick_array(value, data_type, has_booleans)
    if array is not None:
        return array
    shape, flat = _shape(value), []
    _fill(value, shape, 0, data_type, flat)
    return _array_of(flat, shape, data_type, name)


# -- values ------------------------------------------------------------------------------------------------------------


def _quick_array(value: Any, data_type: int, has_booleans: bool) -> np.ndarray | None:
    """Let NumPy convert nested lists of plain numbers; None where it takes the exact walk to tell right from wrong."""
    if has_booleans or (data_type not in _FLOATS and data_type not in _INTEGERS):
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError):  # ragged or very deep lists, giant integers
        return None
    if data_type in _FLOATS:
        return _rounded(array, data_type) if array.dtype.kind in "fiu" else None
    if array.dtype == tensors.numpy_type(data_type):  # no value of it can be out of bounds
        return array
    allowed = _INTEGERS[data_type]
    if array.dtype.kind not in "iu" or (
        array.size and not (int(array.min()) in allowed and int(array.max()) in allowed)
    ):
        return None
    return array.astype(tensors.numpy_type(data_type))


def _rounded(array: np.ndarray, data_type: int) -> np.ndarray:
    """To float or double by way of double, as upstream does; what is too large for a float becomes an infinity."""
    with np.errstate(over="ignore"):
        return array.astype(np.float64).astype(tensors.numpy_type(data_type))


def _array_of(flat: list[Any], shape: list[int], data_type: int, name: str) -> np.ndarray:
    dtype = tensors.numpy_type(data_type)
    if dtype is None or len(shape) > tensors.NUMPY_MAX_RANK:
        raise invalid_argument(f"tensor parsing error: {name}")
    if data_type in _FLOATS:
        array = _rounded(np.array(flat, np.float64), data_type)
    elif data_type in _INTEGERS and _INTEGERS[data_type] is _INT32:
        array = np.array(flat, np.int32).astype(dtype)
    else:
        array = np.empty(len(flat), dtype)
        array[:] = flat
    return array.reshape(shape)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > tensors.MAX_RANK:  # upstream walks on first, and then finds that no tensor is like this
            raise invalid_argument("tensor parsing error: a list is nested too deep")
        if not value:
            break
        value = value[0]
    return shape


def _fill(value: Any, shape: list[int], level: int, data_type: int, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        flat.append(_scalar(value, data_type))
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _fill(element, shape, level + 1, data_type, flat)


def _scalar(value: Any, data_type: int) -> Any:
    if data_type == types_pb2.DT_STRING and isinstance(value, dict):
        return decode_base64(value)
    if isinstance(value, dict):
        raise _type_error(value, data_type)
    if data_type == types_pb2.DT_STRING and isinstance(value, str):
        return _bytes(value)
    if data_type == types_pb2.DT_BOOL and isinstance(value, bool):
        return value
    if data_type in _INTEGERS and _is_integer(value) and value in _INTEGERS[data_type]:
        return value
    if data_type in _FLOATS and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if data_type in _FLOATS or data_type in _INTEGERS or data_type in (types_pb2.DT_STRING, types_pb2.DT_BOOL):
        raise _type_error(value, data_type)
    raise StatusError(
        "UNIMPLEMENTED", f"Conversion of JSON Value: {quote(value)} to type: {tensors.type_name(data_type)}"
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in json_reader.INTEGERS


def _type_error(value: Any, data_type: int) -> StatusError:
    return invalid_argument(
        f"JSON Value: {quote(value)} Type: {_json_type(value)} is not of expected type: {tensors.type_name(data_type)}"
    )


def _bytes(text: str) -> bytes:
    """The bytes that stood in the body, UTF-8 or not."""
    return text.encode(errors="surrogateescape")


_BASE64 = re.compile(rb"([A-Za-z0-9+/]*)([=.]*)")


def decode_base64(value: dict[str, Any]) -> bytes:
    """{"b64": text} -> bytes; raises INVALID_ARGUMENT. White space and missing padding are fine, as upstream."""
    if not _is_base64(value):
        raise invalid_argument(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    found = _BASE64.fullmatch(b"".join(_bytes(value["b64"]).split()))
    missing = -len(found[1]) % 4 if found else 3
    if missing == 3 or len(found[2]) not in (0, missing):
        raise invalid_argument("Unable to base64 decode")
    return base64.b64decode(found[1] + b"=" * missing)


# -- examples ----------------------------------------------------------------------------------------------------------


def examples(document: Document) -> tuple[list[Any], Any | None]:
    """(the tf.Example messages of a classify or regress request, the context Example or None)."""
    members = document.members
    context = _example(members["context"]) if "context" in members else None
    if "examples" not in members:
        raise document.refusal("When method is classify, key 'examples' is expected and was not found")
    if not isinstance(members["examples"], list):
        raise document.refusal("Expecting 'examples' value to be an list/array")
    if not members["examples"]:
        raise document.refusal("'examples' value is an empty array")
    return [_example(value) for value in members["examples"]], context


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {_json_type(value)}")
    example = example_pb2.Example()
    for name, content in getattr(value, "pairs", value.items()):  # of a name given twice, the last one counts
        feature = example.features.feature[_utf8(name)]
        feature.Clear()
        for element in content if isinstance(content, list) else [content]:
            _add_to_feature(element, name, feature)
    return example


def _utf8(name: str) -> str:
    """The name, where it can stand in a message; upstream checks only when it serialises, and logs."""
    return _bytes(name).decode(errors="replace")


def _add_to_feature(value: Any, name: str, feature: Any) -> None:
    kind, plain = _feature_value(value, name)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        expected = present.removesuffix("_list")
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {expected}")
    if kind == "int64_list" and plain not in _INT64:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, kind).value.append(decode_base64(plain) if isinstance(plain, dict) else plain)


def _feature_value(value: Any, name: str) -> tuple[str, Any]:
    """(the list it belongs to, the value); base64 is decoded later, as upstream does."""
    if isinstance(value, bool) or _is_integer(value):
        return "int64_list", int(value)
    if isinstance(value, (int, float)):
        return "float_list", float(_rounded(np.array(float(value)), types_pb2.DT_FLOAT))
    if isinstance(value, str):
        return "bytes_list", _bytes(value)
    if _is_base64(value):
        return "bytes_list", value
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}")


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_named_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _json_type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    if isinstance(value, (int, float)):
        return "Number"
    return {dict: "Object", list: "Array", str: "String", json_reader.Repeated: "Object"}[type(value)]
