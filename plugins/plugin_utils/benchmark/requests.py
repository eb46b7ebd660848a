# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The requests of a benchmark: from a probe, from samples or made up, described, and cut to other sizes."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import tensors
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.inputs import COLUMNS, ROWS, Place
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import signatures
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import shown
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import TOLERANCE

from ..phrases import counted
from .bodies import Request, bodied, form_of, inputs_of, request
from .samples import of_file, of_probe
from .signature import Known, asked, expectation

__all__ = [
    "Request",
    "carried",
    "describe",
    "generated",
    "of_file",
    "of_model",
    "of_probe",
    "scaled",
    "without_rest",
]

# A body of a million floats has 4 MB over gRPC and three times that over REST.
MOST_VALUES = 1_000_000
# Whole numbers are mostly indexes of categories, and the smallest vocabularies have some ten entries.
MOST_INTEGER = 9
TEXT_LENGTH = 8
# Digits of made-up fractions: enough variety, and short in JSON.
DIGITS = 4


def of_model(
    path: str,
    models: Known,
    model: str,
    probe: Mapping[str, Any] | bool | None,
    items: int | None = None,
    seed: int = 1,
) -> tuple[str, list[Request]]:
    """Return the requests for a model without samples, after ``probe`` or ``generated``: where they come from.

    A probe is taken as it is, or with ``items`` rows. ``path`` is that of the probe in the inventory.
    """
    given = probe if isinstance(probe, Mapping) else {}
    if given.get(ROWS) is None and given.get(COLUMNS) is None:
        return "generated", generated(models, model, items or 1, seed=seed, signature=given.get("signature_name"))
    found = [of_probe(path, given, model, models)]
    return "probe", found if items is None else scaled(found, items)


# --- made up -------------------------------------------------------------------------------------------------


def generated(
    models: Known,
    model: str,
    items: int = 1,
    count: int = 16,
    seed: int = 1,
    signature: str | None = None,
    inner: int = 1,
) -> list[Request]:
    """Return ``count`` different requests of random values for a signature, of ``items`` rows each.

    The same seed gives the same requests. Free dimensions after the first become ``inner``. Raises WishError for a
    signature for which none can be made.
    """
    wanted = asked(Place(model), models, model, signature)
    shapes = {
        name: _sizes(f"{model}.{shown(name)}", tensor, items, inner)
        for name, tensor in sorted(wanted.signature.inputs.items())
    }
    size = sum(map(prod, shapes.values()))
    if size > MOST_VALUES:
        remedy = "give fewer items, or a file of samples"
        raise WishError(model, f"would get requests of {size} values, of which {MOST_VALUES} are the most", remedy)
    drawn = random.Random(seed)
    form = ROWS if wanted.in_rows else COLUMNS
    found = []
    for _turn in range(count):
        inputs = {name: _drawn(drawn, wanted.signature.inputs[name].dtype, shape) for name, shape in shapes.items()}
        expect = expectation(wanted, tensors.rows_of(list(inputs.values())), TOLERANCE)
        found.append(request(wanted, inputs, form, 1.0, expect))
    return found


def _sizes(path: str, tensor: signatures.Tensor, items: int, inner: int) -> tuple[int, ...]:
    if tensor.dtype not in messages.DTYPES:
        remedy = "give a file of samples that leave it out"
        raise WishError(path, f"is of the type {shown(tensor.dtype)}, which no request can hold", remedy)
    shape = (-1,) if tensor.shape is None else tensor.shape
    if len(shape) > messages.MOST_DIMENSIONS:
        raise WishError(path, f"has {len(shape)} dimensions, more than a tensor can have", "correct the model")
    if items > 1 and (not shape or shape[0] not in (-1, items)):
        words = f"has the shape {signatures.shown_shape(shape)}, so no request holds {counted(items, 'item')}"
        raise WishError(path, words, "give items: 1, or a file of samples")
    return tuple(size if size >= 0 else inner if place else items for place, size in enumerate(shape))


def _drawn(drawn: random.Random, dtype: str, shape: tuple[int, ...]) -> Tensor:
    draw = _source(drawn, dtype)
    return Tensor(dtype, shape, [draw() for _place in range(prod(shape))])


def _source(drawn: random.Random, dtype: str) -> Callable[[], Any]:
    if dtype == "DT_STRING":
        return lambda: "".join(drawn.choices(string.ascii_lowercase, k=TEXT_LENGTH)).encode()
    if dtype == "DT_BOOL":
        return lambda: drawn.random() < 0.5
    if dtype in messages.FLOATS:
        return lambda: round(drawn.random(), DIGITS)
    if dtype in messages.COMPLEX:
        return lambda: complex(round(drawn.random(), DIGITS), round(drawn.random(), DIGITS))
    return lambda: drawn.randint(0, MOST_INTEGER)


# --- description ---------------------------------------------------------------------------------------------


class Figures(TypedDict):
    """The mean over the mix, by weight, and the largest of all."""

    mean: float
    max: int


class Described(TypedDict):
    """``requests`` of the document of a benchmark."""

    source: str
    file: str | None
    count: int
    items: Figures
    bytes: Figures
    digest: str


def describe(requests: Sequence[Request], protocol: str, source: str, file: str | None = None) -> Described:
    """Return what a report says of requests. ``source`` is probe, samples or generated; ``file`` a name, not a path.

    The digest is the same for the same requests in the same order, whatever the protocol.
    """
    weights = [each["weight"] for each in requests]
    sizes = [len(base64.b64decode(each["grpc" if protocol == "grpc" else "rest"] or "")) for each in requests]
    canonical = json.dumps(list(requests), sort_keys=True, separators=(",", ":"))
    return {
        "source": source,
        "file": file,
        "count": len(requests),
        "items": _figures([each["items"] for each in requests], weights),
        "bytes": _figures(sizes, weights),
        "digest": hashlib.sha256(canonical.encode()).hexdigest(),
    }


def _figures(values: Sequence[int], weights: Sequence[float]) -> Figures:
    mean = sum(value * weight for value, weight in zip(values, weights)) / sum(weights)
    return {"mean": round(mean, 2), "max": max(values)}


def without_rest(requests: Sequence[Request]) -> str:
    """Return the name of the first model whose requests only gRPC can carry; empty if REST can carry all."""
    return next((each["model"] for each in requests if each["rest"] is None), "")


def carried(requests: Sequence[Request], protocol: str) -> list[dict[str, Any]]:
    """Return the requests with the bodies of one protocol alone, as a load host gets them."""
    other = "rest" if protocol == "grpc" else "grpc"
    return [{**each, other: None} for each in requests]


# --- other sizes ---------------------------------------------------------------------------------------------


def scaled(requests: Sequence[Request], items: int) -> list[Request]:
    """Return the requests with ``items`` rows each, their own rows cut, or repeated in their order.

    Raises WishError for requests that are not made of rows.
    """
    return [_scaled(each, items) for each in requests]


def _scaled(given: Request, items: int) -> Request:
    inputs = inputs_of(given)
    rows = tensors.rows_of(list(inputs.values()))
    if not rows:
        words = "takes inputs without a common first dimension, so its requests cannot be cut into items"
        raise WishError(shown(given["model"]), words, "give samples whose inputs all have one row for each item")
    cut = {name: tensors.with_rows(held, items) for name, held in inputs.items()}
    expect = _scaled_expect(given["expect"], rows, items)
    return bodied(given["model"], given["signature"], cut, form_of(given), given["weight"], expect)


def _scaled_expect(expect: Mapping[str, Any] | None, rows: int, items: int) -> dict[str, Any] | None:
    """Return what must come back for other sizes: the same rows where outputs have rows, and any sizes elsewhere."""
    if expect is None:
        return None
    outputs = expect["outputs"]
    in_rows = all(each["shape"] and each["shape"][0] == rows for each in outputs.values())
    cut = {name: _in_rows(each, items) if in_rows else _any_rows(each, rows) for name, each in outputs.items()}
    return {**expect, "outputs": cut}


def _in_rows(output: Mapping[str, Any], items: int) -> dict[str, Any]:
    held, shape = output["values"], tuple(output["shape"])
    if held is not None:
        held = list(tensors.with_rows(Tensor(output["dtype"], shape, held), items).values)
    return {**output, "shape": [items, *shape[1:]], "values": held}


def _any_rows(output: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Return an output whose first dimension may count rows or not, which nobody can tell from one request."""
    shape = output["shape"]
    return {**output, "shape": [-1, *shape[1:]] if shape and shape[0] == rows else shape, "values": None}
