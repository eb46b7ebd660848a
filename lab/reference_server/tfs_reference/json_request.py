# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""REST request bodies: JSON to arrays (predict) and to tf.Example (classify, regress), with upstream's messages."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2

from tfs_reference import tensors
from tfs_reference.status import StatusError, invalid_argument

_FLOAT_MAX_INT = {types_pb2.DT_FLOAT: 2**24 - 1, types_pb2.DT_DOUBLE: 2**53 - 1}
_INT_RANGES = {
    # Upstream checks the small types as 32-bit integers.
    types_pb2.DT_INT8: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT16: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT32: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT8: (-(2**31), 2**31 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; raises INVALID_ARGUMENT. NaN and infinities are accepted, as upstream does."""
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: Invalid value. at offset: {error.pos}") from None
    except (UnicodeDecodeError, RecursionError):
        raise invalid_argument("JSON Parse error: Invalid encoding in string. at offset: 0") from None
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {_text(document)} Is not object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {_text(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_inputs(document: dict[str, Any], infos: dict[str, Any]) -> tuple[dict[str, np.ndarray], bool]:
    """(arrays by input name, whether the request was in row form). `infos`: the signature's TensorInfo by name."""
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {_text(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        return _rows(document, infos), True
    if "inputs" in document:
        return _columns(document["inputs"], infos), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _rows(document: dict[str, Any], infos: dict[str, Any]) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {_text(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {_text(document)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if not _is_named_object(instances[0]):
        _check_all_plain(instances)
        name = next(iter(infos))
        return {name: _stack(instances, infos[name].dtype, "")}
    _check_all_named(instances, infos)
    return {name: _stack([row[name] for row in instances], infos[name].dtype, f" key: {name}") for name in infos}


def _check_all_plain(instances: list[Any]) -> None:
    for position, row in enumerate(instances):
        if _is_named_object(row):
            raise invalid_argument(f"Expecting value/list but got object at item {position} of input list")


def _check_all_named(instances: list[Any], infos: dict[str, Any]) -> None:
    names = infos.keys()
    for position, row in enumerate(instances):
        if not _is_named_object(row):
            raise invalid_argument(f"Expecting object but got list at item {position} of input list")
        for key in row:
            if key not in names:
                raise invalid_argument(
                    f"Failed to process element: {position} key: {key} of 'instances' list. Error: INVALID_ARGUMENT: "
                    f"JSON object: does not have named input: {key}"
                )
        if row.keys() != names:
            raise invalid_argument(
                f"Failed to process element: {position} of 'instances' list. JSON object: {_text(row)} keys must be "
                f"equal to: {','.join(sorted(names))}"
            )


def _stack(values: list[Any], data_type: int, place: str) -> np.ndarray:
    """One array out of the values of all rows, which must agree in type and shape."""
    array = _quick_array(values, data_type)
    if array is not None:
        return array
    rows = []
    for position, value in enumerate(values):
        try:
            rows.append(_exact_array(value, data_type))
            _check_same_shape(rows[0], rows[-1])
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {position}{place} of 'instances' list. Error: {error}"
            ) from None
    return np.stack(rows)


def _check_same_shape(first: np.ndarray, other: np.ndarray) -> None:
    if first.size != other.size:
        raise invalid_argument(f"Expecting tensor size: {first.size} but got: {other.size}")
    if first.shape != other.shape:
        shapes = ["[" + ",".join(map(str, shape)) + "]" for shape in (first.shape, other.shape)]
        raise invalid_argument(f"Expecting shape {shapes[0]} but got: {shapes[1]}")


def _columns(inputs: Any, infos: dict[str, Any]) -> dict[str, np.ndarray]:
    if not _is_named_object(inputs):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name, info = next(iter(infos.items()))
        return {name: _array(inputs, info.dtype)}
    arrays = {}
    for name, info in infos.items():
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _array(inputs[name], info.dtype)
    return arrays


def _array(value: Any, data_type: int) -> np.ndarray:
    array = _quick_array(value, data_type)
    return _exact_array(value, data_type) if array is None else array


def _quick_array(value: Any, data_type: int) -> np.ndarray | None:
    """Let NumPy convert nested lists of plain numbers; None where it takes the exact walk to tell right from wrong.

    NumPy takes true for 1 when both occur, so the walk decides whenever NumPy's own type is not the one asked for.
    """
    if data_type == types_pb2.DT_STRING:
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # ragged lists, giant integers
        return None
    wanted = tensors.numpy_type(data_type)
    if array.dtype.kind == "f" and wanted.kind == "f" and _fits(array, wanted):
        return array.astype(wanted)
    if array.dtype.kind == "i" and wanted.kind in "fiu" and data_type not in (types_pb2.DT_UINT32, types_pb2.DT_UINT64):
        small = 2**24 - 1 if wanted.kind == "f" else min(np.iinfo(wanted).max, 2**62)
        if array.size and -small <= array.min() and array.max() <= small:
            return array.astype(wanted)
    return None


def _fits(array: np.ndarray, wanted: np.dtype) -> bool:
    finite = array[np.isfinite(array)]
    return not finite.size or bool(np.abs(finite).max() <= np.finfo(wanted).max)


def _exact_array(value: Any, data_type: int) -> np.ndarray:
    """Walk the value as upstream does, and fail with its message at the first element that is wrong."""
    shape = _shape(value)
    flat: list[Any] = []
    _fill(value, shape, 0, data_type, flat)
    array = np.empty(len(flat), tensors.numpy_type(data_type))
    array[:] = flat
    return array.reshape(shape)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _fill(value: Any, shape: list[int], level: int, data_type: int, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {_text(value)} found at incorrect level: {level + 1} in the JSON DOM. "
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
    if data_type == types_pb2.DT_STRING and isinstance(value, str):
        return value.encode()
    if data_type == types_pb2.DT_STRING and isinstance(value, dict):
        return decode_base64(value)
    if data_type == types_pb2.DT_BOOL and isinstance(value, bool):
        return value
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if data_type in _INT_RANGES and is_integer:
        low, high = _INT_RANGES[data_type]
        if low <= value <= high:
            return value
    if data_type in _FLOAT_MAX_INT and (is_integer or isinstance(value, float)):
        return _decimal(value, data_type)
    raise invalid_argument(
        f"JSON Value: {_text(value)} Type: {_json_type(value)} is not of expected type: {tensors.type_name(data_type)}"
    )


def _decimal(value: float, data_type: int) -> float:
    limit = _FLOAT_MAX_INT[data_type] if isinstance(value, int) else np.finfo(tensors.numpy_type(data_type)).max
    if abs(value) > limit and value not in (float("inf"), float("-inf")):
        raise invalid_argument(
            f"Cannot convert JSON value: {_text(value)} to {tensors.type_name(data_type)} without loss of precision."
        )
    return value


def decode_base64(value: dict[str, Any]) -> bytes:
    """{"b64": text} -> bytes; raises INVALID_ARGUMENT."""
    if not _is_base64(value):
        raise invalid_argument(f"JSON Value: {_text(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def examples(document: dict[str, Any]) -> tuple[list[Any], Any | None]:
    """(the tf.Example messages of a classify or regress request, the context Example or None)."""
    context = _example(document["context"]) if "context" in document else None
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {_text(document)} When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(document["examples"], list):
        raise invalid_argument(f"JSON Value: {_text(document)} Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise invalid_argument(f"JSON Value: {_text(document)} 'examples' value is an empty array")
    return [_example(value) for value in document["examples"]], context


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {_json_type(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add_to_feature(element, name, feature)
    return example


def _add_to_feature(value: Any, name: str, feature: Any) -> None:
    if isinstance(value, float):
        kind, plain = "float_list", _decimal(value, types_pb2.DT_FLOAT)
    elif isinstance(value, int):  # bool included: upstream stores true as 1
        kind, plain = "int64_list", int(value)
        if plain > 2**63 - 1:
            raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    elif isinstance(value, str):
        kind, plain = "bytes_list", value.encode()
    elif _is_base64(value):
        kind, plain = "bytes_list", decode_base64(value)
    else:
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}")
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        expected = present.removesuffix("_list")
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {expected}")
    getattr(feature, kind).value.append(plain)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_named_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _json_type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    if isinstance(value, (int, float)):
        return "Number"
    return {dict: "Object", list: "Array", str: "String"}[type(value)]


def _text(value: Any) -> str:
    return json.dumps(value, indent=4, ensure_ascii=False)
