# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""REST answers, in the layout and number format of upstream's pretty-printing JSON writer."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
from google.protobuf import json_format

from tfs_reference import tensors
from tfs_reference.json_text import string
from tfs_reference.status import invalid_argument

_BYTES_SUFFIX = "_bytes"  # string outputs with such a name are answered in base64
_INDENT = "    "
_WRITTEN_INTEGERS = frozenset(map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")))
_ROUND_TRIP_DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


def error(message: str) -> str:
    return f'{{\n    "error": {string(message)}\n}}'


def predictions(outputs: dict[str, np.ndarray]) -> str:
    """Row form. Raises INVALID_ARGUMENT when outputs have no or different first dimensions."""
    _check_not_empty(outputs)
    rows = _common_rows(outputs)
    if not rows:
        return '{\n    "predictions": []\n}'
    depth = 2 if len(outputs) == 1 else 3
    columns = {name: _row_texts(array, name, depth) for name, array in sorted(outputs.items())}
    if len(columns) == 1:
        body = ", ".join(next(iter(columns.values())))
    else:
        body = ",".join(
            "\n        {\n"
            + ",\n".join(f"            {string(name)}: {texts[row]}" for name, texts in columns.items())
            + "\n        }"
            for row in range(rows)
        )
    return f'{{\n    "predictions": [{body}\n    ]\n}}'


def _check_not_empty(outputs: dict[str, np.ndarray]) -> None:
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")


def _common_rows(outputs: dict[str, np.ndarray]) -> int:
    rows = -1
    for name, array in sorted(outputs.items()):
        if not array.shape:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if rows not in (-1, array.shape[0]):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {rows}"
            )
        rows = array.shape[0]
    return rows


def _row_texts(array: np.ndarray, name: str, depth: int) -> list[str]:
    """The text of each row, nested lists on one line. `depth`: how many containers a row stands in."""
    texts = _scalars(array, name, depth + array.ndim - 1)
    for axis in range(array.ndim - 1, 0, -1):
        size = array.shape[axis]
        starts = range(0, math.prod(array.shape[: axis + 1]), size) if size else range(math.prod(array.shape[:axis]))
        texts = ["[" + ", ".join(texts[start : start + size]) + "]" for start in starts]
    return texts


def columns(outputs: dict[str, np.ndarray]) -> str:
    """Column form: every value on a line of its own."""
    _check_not_empty(outputs)
    if len(outputs) == 1:
        name, array = next(iter(outputs.items()))
        return f'{{\n    "outputs": {_column_text(array, name, 1)}\n}}'
    members = ",\n".join(
        f"        {string(name)}: {_column_text(array, name, 2)}" for name, array in sorted(outputs.items())
    )
    return f'{{\n    "outputs": {{\n{members}\n    }}\n}}'


def _column_text(array: np.ndarray, name: str, depth: int) -> str:
    return _nested(_scalars(array, name, depth + array.ndim), array.shape, depth)


def _nested(texts: list[str], shape: tuple[int, ...], depth: int) -> str:
    if not shape:
        return texts[0]
    if not shape[0]:
        return "[]"
    step = len(texts) // shape[0]
    inner = _INDENT * (depth + 1)
    parts = [_nested(texts[row * step : (row + 1) * step], shape[1:], depth + 1) for row in range(shape[0])]
    return "[\n" + ",\n".join(inner + part for part in parts) + "\n" + _INDENT * depth + "]"


def _scalars(array: np.ndarray, name: str, depth: int) -> list[str]:
    """Raises INVALID_ARGUMENT for the types that upstream's writer does not know."""
    flat = array.ravel()
    if flat.dtype in _ROUND_TRIP_DIGITS:
        return decimals(flat)
    if flat.dtype == object:
        return [_string(value, name.endswith(_BYTES_SUFFIX), depth) for value in flat]
    if flat.dtype == np.bool_:
        return ["true" if value else "false" for value in flat.tolist()]
    if flat.dtype in _WRITTEN_INTEGERS:
        return list(map(str, flat.tolist()))
    if not flat.size:
        return []
    raise invalid_argument(f"Failed to write JSON value for tensor type: {tensors.type_name(tensors.type_of(flat))}")


def _string(value: bytes, as_base64: bool, depth: int) -> str:
    if as_base64:
        encoded = base64.b64encode(value).decode()
        return f'{{\n{_INDENT * (depth + 1)}"b64": "{encoded}"\n{_INDENT * depth}}}'
    return string(value.decode(errors="surrogateescape"))


def decimals(flat: np.ndarray) -> list[str]:
    """Six significant digits where these give the very number back, else as many as that takes; always a float."""
    texts = [f"{value:g}" for value in flat.tolist()]
    exact = np.array(texts).astype(flat.dtype) == flat if texts else []
    digits = _ROUND_TRIP_DIGITS[flat.dtype]
    for position in np.flatnonzero(~np.asarray(exact, bool)):
        texts[position] = f"{flat[position].item():.{digits}g}"
    return [_as_float(text) for text in texts]


def _as_float(text: str) -> str:
    if "." in text or "e" in text:
        return text
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text + ".0")


def classifications(result: Any) -> str:
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for row in result.classifications:
        scores = decimals(np.array([entry.score for entry in row.classes], np.float32))
        labels = [string(entry.label) for entry in row.classes]
        rows.append("[" + ", ".join(f"[{label}, {score}]" for label, score in zip(labels, scores)) + "]")
    return f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}'


def regressions(result: Any) -> str:
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = decimals(np.array([entry.value for entry in result.regressions], np.float32))
    return f'{{\n    "results": [{", ".join(values)}]\n}}'


def model_status(response: Any) -> str:
    return _message(response)


def model_metadata(model_spec: Any, signature_def_map: Any) -> str:
    """Upstream prints the two messages one by one and puts text around them."""
    signatures = _message(signature_def_map)
    return f'{{\n"model_spec":{_message(model_spec)},\n"metadata": {{"signature_def": {signatures}}}\n}}\n'


def _message(message: Any) -> str:
    """A message as the protocol buffer library prints it, indented by one and with its escapes."""
    members = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    text = json.dumps(_ordered(members, message.DESCRIPTOR), indent=1, ensure_ascii=False) + "\n"
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("\x7f", "\\u007f")


def _ordered(members: Any, descriptor: Any) -> Any:
    """A message's fields as they are declared, those of a oneof last: the order of the library's JSON writer."""
    if not isinstance(members, dict):  # a wrapper is printed as its value
        return members
    fields = sorted(descriptor.fields, key=lambda field: field.containing_oneof is not None)
    return {field.name: _ordered_field(members[field.name], field) for field in fields if field.name in members}


def _ordered_field(value: Any, field: Any) -> Any:
    kind = field.message_type
    if kind is None:
        return value
    if kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"].message_type
        return {key: _ordered(entry, inner) for key, entry in value.items()} if inner else value
    if isinstance(value, list):
        return [_ordered(element, kind) for element in value]
    return _ordered(value, kind)
