# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A model's contract (its signature) and probe (the request that proves it), as wishes state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    key_path,
    kind,
    nearest,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import DTYPES

from . import checks as fields

# Types of a signature's tensors; DT_INVALID is the absence of a type.
KNOWN = sorted(set(DTYPES.values()) - {"DT_INVALID"})
# Python's names for the protocol's types, for the hint in a refusal.
_PYTHON = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF", "float": "DT_FLOAT", "int": "DT_INT64"}

# TensorShape::MaxDimensions()
MOST_DIMENSIONS = 254
MOST_TENSORS = 1000
# Tensor names appear in messages and in the plan.
MOST_NAME = 256


def dtype(path: str, value: Any) -> str:
    """Check a type as spelt in the server's metadata."""
    if isinstance(value, str) and value in KNOWN:
        return str(value)
    hint = _PYTHON.get(value) if isinstance(value, str) else None
    guess = hint or (f"DT_{value.upper()}" if isinstance(value, str) and f"DT_{value.upper()}" in KNOWN else "")
    remedy = (
        f"write {guess}" if guess else nearest(value, KNOWN) or "write it as the server's metadata do, like DT_FLOAT"
    )
    raise WishError(path, f"is {described(value)}, which is not a tensor type", remedy)


def shape(path: str, value: Any) -> list[int]:
    """Check a shape; -1 and null are free dimensions, returned as -1."""
    if not isinstance(value, (list, tuple)):
        raise WishError(path, f"is {described(value)}", "give a list of sizes, with -1 for what is free: [-1, 16]")
    if len(value) > MOST_DIMENSIONS:
        raise WishError(path, f"has {len(value)} dimensions", f"a tensor has {MOST_DIMENSIONS} at the most")
    return [_size(f"{path}[{at}]", size) for at, size in enumerate(value)]


_size_of = fields.whole(-1, what="a size, or -1 for a free one,")


def _size(path: str, value: Any) -> int:
    return -1 if value is None else _size_of(path, value)


TENSOR_FIELDS: dict[str, fields.Check] = {"dtype": dtype, "shape": shape}


def tensors(path: str, value: Any) -> dict[str, dict[str, Any]]:
    """Check the tensors of one side of a contract, by name."""
    if not isinstance(value, Mapping):
        raise WishError(path, f"is {described(value)}", "give a mapping of names to {dtype: ..., shape: [...]}")
    if len(value) > MOST_TENSORS:
        raise WishError(path, f"names {len(value)} tensors", f"name {MOST_TENSORS} at the most")
    for name in value:
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable():
            raise WishError(path, f"has a name that is {kind(name)}", "give the names that the signature has")
    return {
        str(name): fields.fields(key_path(path, name), {} if wish is None else wish, "a tensor", TENSOR_FIELDS)
        for name, wish in value.items()
    }


CONTRACT_FIELDS: dict[str, fields.Check] = {"signature_name": fields.text, "inputs": tensors, "outputs": tensors}


def contract(path: str, value: Any) -> dict[str, Any]:
    """Check the signature that callers rely on."""
    wish = fields.fields(path, value, "a contract", CONTRACT_FIELDS)
    if not wish.get("inputs") and not wish.get("outputs"):
        raise WishError(path, "promises nothing", "give inputs, outputs or both")
    return wish


def probe(path: str, value: Any) -> dict[str, Any] | bool:
    """Check the request that proves a model, or false for a model served without proof."""
    asked = scalars.truth(value)
    if asked is True:
        raise WishError(path, f"is {described(value)}", "leave it out for a request of zeros, or write the request")
    return False if asked is False else fields.probe(path, value)
