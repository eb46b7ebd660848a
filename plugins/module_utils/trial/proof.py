# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The proof that a server has read the batching of a version: it refuses one row more, and says how many it takes.

No state, log line or metric of the server tells its batching. What it says of a request that is too large does
(TensorFlow's core/kernels/batching_util/shared_batch_scheduler.h, where a task meets input_batch_size_limit).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..serving import check as serving_check
from ..serving.client import Client, NoRequestError, ServerError, UnreachableError, given_request, zero_requests

_REFUSAL = re.compile(r"Task size ([0-9]{1,19}) is larger than maximum input batch size ([0-9]{1,19})")
# The server reads it within a moment, and no row of a usual model is that large.
LARGEST_BODY = 8 << 20


def limit(client: Client, expected: serving_check.Expectation, number: int, rows: int) -> int:
    """Return how many rows version ``number`` takes in a request, asked with one row more than ``rows``.

    Raises RuntimeError if it does not say so, which is what a server without that batching does.
    """
    name = f"model {expected.model} version {number}"
    try:
        client.predict(expected.model, _larger(client, expected, rows), version=number)
    except ServerError as error:
        found = _REFUSAL.search(str(error))
        if found and int(found[1]) == rows + 1:
            return int(found[2])
        raise RuntimeError(f"{name} does not say how large its batches are ({error})") from error
    except (UnreachableError, NoRequestError) as error:
        raise RuntimeError(f"{name} cannot be asked how large its batches are ({error})") from error
    raise RuntimeError(f"{name} takes {rows + 1} rows at once, so its batching is not in force")


def _larger(client: Client, expected: serving_check.Expectation, rows: int) -> dict[str, Any]:
    body = given_request(expected.probe)
    if not {"instances", "inputs"} & set(body):
        body = zero_requests(client.metadata(expected.model), body.get("signature_name"))[0]
    if "instances" in body:
        return {**body, "instances": _repeated(body["instances"], rows)}
    inputs = body["inputs"]
    if isinstance(inputs, Mapping):
        return {**body, "inputs": {name: _repeated(values, rows) for name, values in inputs.items()}}
    return {**body, "inputs": _repeated(inputs, rows)}


def _repeated(values: Any, rows: int) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise NoRequestError("its probe has no rows")
    if len(json.dumps(values[0])) * (rows + 1) > LARGEST_BODY:
        raise NoRequestError(f"{rows + 1} rows have more than {LARGEST_BODY >> 20} MiB")
    return [values[0]] * (rows + 1)
