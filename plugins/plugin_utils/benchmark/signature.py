# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What requests for a model may hold, by the signatures that its server reports, and what must come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.inputs import Asked, Place
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import signatures
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import Signature, shown

from ..phrases import joined

# Model -> its signatures by name.
Known = Mapping[str, Mapping[str, Signature]]
# Names in a remedy; the first ones are enough.
MOST_NAMED = 8


def known(metadata: Mapping[str, Mapping[str, Any]]) -> Known:
    """Return the signatures of models, from the answers of their server to ``/v1/models/MODEL/metadata``."""
    return {model: signatures.of_metadata(answer) for model, answer in metadata.items()}


def asked(place: Place, models: Known, model: str | None, name: str | None) -> Asked:
    """Return the signature of a model that a request is for. Raises WishError if there is none."""
    if model is None and len(models) != 1:
        raise WishError(place.path, "names no model", f"add model: {_names(models)}")
    chosen = next(iter(models)) if model is None else model
    if chosen not in models:
        raise WishError(place.of("model"), "is no model of the instance", _one_of(chosen, models))
    there = {each: found for each, found in models[chosen].items() if not each.startswith("__")}
    wanted = signatures.chosen(there, name)
    if wanted not in there:
        raise WishError(place.of("signature"), f"is no signature of {shown(chosen)}", _one_of(wanted, there))
    if not there[wanted].inputs:
        raise WishError(
            place.path, f"is for the signature {shown(wanted)}, which has no inputs", "name another signature"
        )
    return Asked(chosen, wanted, there[wanted])


def _one_of(word: str, names: Mapping[str, Any]) -> str:
    return nearest(word, names) or f"give {_names(names)}"


def _names(names: Mapping[str, Any]) -> str:
    listed = [shown(each) for each in sorted(names)]
    more = [f"{len(listed) - MOST_NAMED} more"] if len(listed) > MOST_NAMED else []
    return f"one of {joined([*listed[:MOST_NAMED], *more])}" if len(listed) > 1 else (listed or ["nothing"])[0]


def expectation(wanted: Asked, items: int | None, tolerance: float) -> dict[str, Any] | None:
    """Return what every reply must be by the signature: outputs, types and shapes; None where no reply can be read."""
    outputs = wanted.signature.outputs
    if not outputs or any(output.dtype not in messages.DTYPES for output in outputs.values()):
        return None
    rows = items if wanted.in_rows and items is not None else -1
    shapes = {name: _shape(output.shape, rows) for name, output in outputs.items()}
    return {
        "tolerance": tolerance,
        "outputs": {
            name: {"dtype": output.dtype, "shape": shapes[name], "values": None} for name, output in outputs.items()
        },
    }


def _shape(shape: tuple[int, ...] | None, rows: int) -> list[int] | None:
    if shape is None:
        return None
    return [rows if size < 0 and not place else max(size, -1) for place, size in enumerate(shape)]
