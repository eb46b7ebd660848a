# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One request as the load generator takes it: the bodies for both protocols, and what must come back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import quote

from ansible_collections.tfserving.fleet.plugins.module_utils.golden import tensors
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.inputs import COLUMNS, ROWS, Asked
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor


class _Request(TypedDict):
    model: str
    signature: str
    path: str
    rest: str | None
    grpc: str
    weight: float
    items: int
    expect: dict[str, Any] | None


class Request(_Request, total=False):
    """An entry of ``requests`` in the specification of a stage. Bodies are base64; None where JSON cannot hold one.

    It is sent as ``copies`` calls at once, 1 unless given; ``items`` are those of all.
    """

    copies: int


def request(
    wanted: Asked,
    inputs: Mapping[str, Tensor],
    form: str = COLUMNS,
    weight: float = 1.0,
    expect: dict[str, Any] | None = None,
) -> Request:
    """Return a request with these inputs; over REST in the form ``instances`` or ``inputs``."""
    return bodied(wanted.model, wanted.name, inputs, form, weight, expect)


def bodied(
    model: str, name: str, inputs: Mapping[str, Tensor], form: str, weight: float, expect: dict[str, Any] | None
) -> Request:
    """Return a request for the signature ``name`` of a model."""
    rest = _rest(name, inputs, form)
    return {
        "model": model,
        "signature": name,
        "path": f"/v1/models/{quote(model, safe='')}:predict",
        "rest": None if rest is None else base64.b64encode(rest).decode(),
        "grpc": base64.b64encode(messages.encode_request(model, name, inputs)).decode(),
        "weight": weight,
        "items": tensors.rows_of(list(inputs.values())) or 1,
        "expect": expect,
    }


def _rest(name: str, inputs: Mapping[str, Tensor], form: str) -> bytes | None:
    if any(held.dtype not in tensors.OF_REST for held in inputs.values()):
        return None
    columns = {key: tensors.to_json(held) for key, held in inputs.items()}
    held: Any = columns
    if form == ROWS:
        # Names are given even to a lone input, since {"b64": ...} alone could be taken for one.
        held = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return json.dumps({"signature_name": name, form: held}, separators=(",", ":")).encode()


def form_of(given: Request) -> str:
    """Return the form of a request over REST."""
    return ROWS if given["rest"] and ROWS in json.loads(base64.b64decode(given["rest"])) else COLUMNS


def inputs_of(given: Request) -> dict[str, Tensor]:
    """Return the inputs of a request."""
    found = messages.decode_request(base64.b64decode(given["grpc"]))
    return {name: tensors.as_written(held) for name, held in found.items()}
