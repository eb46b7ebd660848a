# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The signatures of a model, from its saved_model.pb or its server's metadata, and the demands on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..visible_text import shortened, told

DEFAULT = "serving_default"

# tensorflow/core/framework/types.proto, in numerical order
DTYPES: dict[int, str] = dict(
    enumerate(
        (
            *("DT_INVALID", "DT_FLOAT", "DT_DOUBLE", "DT_INT32", "DT_UINT8", "DT_INT16", "DT_INT8", "DT_STRING"),
            *("DT_COMPLEX64", "DT_INT64", "DT_BOOL", "DT_QINT8", "DT_QUINT8", "DT_QINT32", "DT_BFLOAT16", "DT_QINT16"),
            *("DT_QUINT16", "DT_UINT16", "DT_COMPLEX128", "DT_HALF", "DT_RESOURCE", "DT_VARIANT", "DT_UINT32"),
            *("DT_UINT64", "DT_FLOAT8_E5M2", "DT_FLOAT8_E4M3FN"),
        )
    )
)

CONTRACT_REMEDY = "export a model that keeps it, or correct the contract"
BATCHING_REMEDY = "write batching: {enabled: false} for this instance, or export it with a free first dimension"

# A model can have as many differences as tensors; the first ones are enough.
MOST_SHOWN = 5
_MOST_NAME = 60
_MOST_SHAPE = 100


@dataclass(frozen=True)
class Tensor:
    """An input or output. ``shape`` is None for unknown rank; -1 in it is a free dimension."""

    dtype: str
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        return f"{shown(self.dtype)} {shown_shape(self.shape)}"


@dataclass
class Signature:
    """An entry of signature_def. ``optional`` names inputs that have a default."""

    method: str = ""
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)


def shown_shape(shape: tuple[int, ...] | list[int] | None) -> str:
    """Return a shape in common notation; a very long one is cut."""
    return "of unknown rank" if shape is None else f"[{shortened(', '.join(map(str, shape)), _MOST_SHAPE)}]"


def shown(name: str) -> str:
    """Return a name from a model for use in a message: printable and not too long."""
    return told(name, _MOST_NAME)


def chosen(signatures: Mapping[str, Signature], name: str | None = None) -> str:
    """Return the signature that callers use: the named one, else the default one, else the first by name."""
    # Names that begin with two underscores are TensorFlow's own (__saved_model_init_op) and not for callers.
    public = sorted(each for each in signatures if not each.startswith("__"))
    return name or (DEFAULT if DEFAULT in signatures or not public else public[0])


# --- metadata ------------------------------------------------------------------------------------------------


def of_metadata(metadata: Mapping[str, Any]) -> dict[str, Signature]:
    """Return the signatures in a server's metadata answer, without malformed parts."""
    found = _mapping(_mapping(_mapping(metadata.get("metadata")).get("signature_def")).get("signature_def"))
    return {name: _signature(_mapping(entry)) for name, entry in found.items()}


def _signature(entry: Mapping[str, Any]) -> Signature:
    return Signature(
        str(entry.get("method_name", "")),
        {name: _tensor(_mapping(info)) for name, info in _mapping(entry.get("inputs")).items()},
        {name: _tensor(_mapping(info)) for name, info in _mapping(entry.get("outputs")).items()},
        set(_mapping(entry.get("defaults"))),
    )


def _tensor(info: Mapping[str, Any]) -> Tensor:
    shape = _mapping(info.get("tensor_shape"))
    dims = shape.get("dim")
    sizes = [_size(_mapping(dim).get("size")) for dim in dims] if isinstance(dims, list) else []
    unknown = shape.get("unknown_rank") or "tensor_shape" not in info
    return Tensor(str(info.get("dtype", "DT_INVALID")), None if unknown else tuple(sizes))


def _size(value: object) -> int:
    try:
        return int(str(value or 0)[:20])
    except ValueError:
        return 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# --- demands on them -----------------------------------------------------------------------------------------


def departures(contract: Mapping[str, Any], signatures: Mapping[str, Signature]) -> str:
    """Return a model's departures from its contract, in words; empty if it keeps it."""
    name = contract.get("signature_name") or DEFAULT
    if name not in signatures:
        there = ", ".join(shown(each) for each in sorted(signatures) if not each.startswith("__")) or "none"
        return f"it has no signature {name}, it has {there[:200]}"
    signature = signatures[name]
    found = [
        *_differences("input", contract.get("inputs"), signature.inputs),
        *_differences("output", contract.get("outputs"), signature.outputs),
        *_unasked(contract.get("inputs"), signature),
    ]
    more = [f"and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
    return ", ".join([*found[:MOST_SHOWN], *more])


def _differences(kind: str, promised: Mapping[str, Any] | None, there: Mapping[str, Tensor]) -> Iterator[str]:
    for name, wish in (promised or {}).items():
        tensor = there.get(name)
        if tensor is None:
            named = ", ".join(map(shown, sorted(there)[:MOST_SHOWN])) or "none"
            yield f"{kind} {shown(name)} is missing (its {kind}s are {named})"
            continue
        dtype, shape = wish.get("dtype", tensor.dtype), wish.get("shape", tensor.shape)
        if dtype != tensor.dtype or (shape is not None and tuple(shape) != tensor.shape):
            yield f"{kind} {shown(name)} is {tensor} and not {Tensor(dtype, shape)}"


def _unasked(promised: Mapping[str, Any] | None, signature: Signature) -> Iterator[str]:
    """Yield the inputs that callers do not know of but would have to send."""
    if promised is not None:
        for name in sorted(set(signature.inputs) - set(promised) - signature.optional):
            yield f"input {shown(name)} is not in the contract, and callers would have to send it"


def unbatchable(signatures: Mapping[str, Signature], name: str | None = None) -> str:
    """Return why requests for a signature cannot be joined into batches, in words; empty if they can.

    The server joins requests along the first dimension of every input and cuts every output there
    (batching_session.cc); a tensor of unknown rank may have one.
    """
    name = chosen(signatures, name)
    signature = signatures.get(name)
    if signature is None:
        return ""
    if not signature.inputs:
        return f"signature {shown(name)} has no inputs"
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor_name, tensor in sorted(tensors.items()):
            fault = _no_row(tensor)
            if fault:
                return f"{kind} {shown(tensor_name)} of signature {shown(name)} {fault}"
    return ""


def _no_row(tensor: Tensor) -> str:
    if tensor.shape is None:
        return ""
    if not tensor.shape:
        return "is a scalar"
    return "" if tensor.shape[0] < 0 else f"has the fixed first dimension {tensor.shape[0]}"
