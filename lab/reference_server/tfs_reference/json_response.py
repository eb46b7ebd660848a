# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""REST answers, in the layout and number format of upstream's pretty-printing JSON writer."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from google.protobuf import json_format

from tfs_reference.status import invalid_argument

_BYTES_SUFFIX = "_bytes"  # string outputs with such a name are answered in base64
_ROUND_TRIP_DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


def error(message: str) -> str:
    return f'{{\n    "error": {json.dumps(message)}\n}}'


def predictions(outputs: dict[str, np.ndarray]) -> str:
    """Row form. Raises INVALID_ARGUMENT when outputs have no or different first dimensions."""
    rows = _common_rows(outputs)
    columns = {name: _row_texts(array, name) for name, array in sorted(outputs.items())}
    if len(columns) == 1:
        body = ", ".join(next(iter(columns.values())))
    else:
        body = ",".join(
            "\n        {\n"
            + ",\n".join(f"            {json.dumps(name)}: {texts[row]}" for name, texts in columns.items())
            + "\n        }"
            for row in range(rows)
        )
    return f'{{\n    "predictions": [{body}\n    ]\n}}'


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


def _row_texts(array: np.ndarray, name: str) -> list[str]:
    """The text of each row, nested lists on one line."""
    texts = _scalars(array, name)
    for size in reversed(array.shape[1:]):
        if size == 0:
            return ["[]"] * array.shape[0]
        texts = ["[" + ", ".join(texts[start : start + size]) + "]" for start in range(0, len(texts), size)]
    return texts


def columns(outputs: dict[str, np.ndarray]) -> str:
    """Column form: every value on a line of its own."""
    if len(outputs) == 1:
        name, array = next(iter(outputs.items()))
        return f'{{\n    "outputs": {_nested(_scalars(array, name), array.shape, 4)}\n}}'
    members = ",\n".join(
        f"        {json.dumps(name)}: {_nested(_scalars(array, name), array.shape, 8)}"
        for name, array in sorted(outputs.items())
    )
    return f'{{\n    "outputs": {{\n{members}\n    }}\n}}'


def _nested(texts: list[str], shape: tuple[int, ...], indent: int) -> str:
    if not shape:
        return texts[0]
    if 0 in shape:
        return "[]"
    step = len(texts) // shape[0]
    inner = " " * (indent + 4)
    parts = [_nested(texts[start : start + step], shape[1:], indent + 4) for start in range(0, len(texts), step)]
    return "[\n" + ",\n".join(inner + part for part in parts) + "\n" + " " * indent + "]"


def _scalars(array: np.ndarray, name: str) -> list[str]:
    flat = array.ravel()
    if flat.dtype.kind == "f" or flat.dtype.name == "bfloat16":
        return decimals(flat if flat.dtype in _ROUND_TRIP_DIGITS else flat.astype(np.float32))
    if flat.dtype == object:
        return [_string(value, name.endswith(_BYTES_SUFFIX)) for value in flat]
    if flat.dtype == np.bool_:
        return ["true" if value else "false" for value in flat.tolist()]
    if flat.dtype.kind in "iu":
        return list(map(str, flat.tolist()))
    raise invalid_argument(f"Failed to write JSON value for tensor type: {flat.dtype.name}")


def _string(value: bytes, as_base64: bool) -> str:
    if as_base64:
        return json.dumps({"b64": base64.b64encode(value).decode()})
    return json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)


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
        labels = [json.dumps(entry.label, ensure_ascii=False) for entry in row.classes]
        rows.append("[" + ", ".join(f"[{label}, {score}]" for label, score in zip(labels, scores)) + "]")
    return f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}'


def regressions(result: Any) -> str:
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = decimals(np.array([entry.value for entry in result.regressions], np.float32))
    return f'{{\n    "results": [{", ".join(values)}]\n}}'


def model_status(response: Any) -> str:
    return json.dumps(_as_dict(response), indent=1) + "\n"


def model_metadata(model_spec: Any, signature_def_map: Any) -> str:
    metadata = {"model_spec": _as_dict(model_spec), "metadata": {"signature_def": _as_dict(signature_def_map)}}
    return json.dumps(metadata, indent=1) + "\n"


def _as_dict(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
