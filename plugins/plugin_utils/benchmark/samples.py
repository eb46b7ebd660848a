# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests from samples: a file of JSON lines, or the probe of a model. docs/samples.md describes the file."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    unknown_key,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import inputs as request_inputs
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import tensors
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.inputs import ROWS, Asked, Place
from ansible_collections.tfserving.fleet.plugins.module_utils.load import replies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import shown
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import TOLERANCE

from .bodies import Request, request
from .signature import Known, asked, expectation

# A benchmark holds all bodies in memory, on the controller and in every process of a load host, which has 150 MB.
MOST_BYTES = 64 * 1024 * 1024
# The same of the bodies in base64, which is what a load host takes; JSON of small numbers is shorter than gRPC.
MOST_BODIES = 60 * 1024 * 1024
# More would not make a mix more realistic, and the file is meant to be read by people.
MOST_SAMPLES = 10_000
# A request of 700 items of a wide ranker takes about a megabyte of JSON.
MOST_LINE_BYTES = 10 * 1024 * 1024

OF_SAMPLE = ("instances", "inputs", "model", "signature", "weight", "expect", "tolerance")
OF_PROBE = ("instances", "inputs", "signature_name", "expect")


def of_file(path: str, models: Known) -> list[Request]:
    """Return the requests of a file of samples. Raises WishError with every line that is refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise WishError(path, f"cannot be read ({error.strerror})", "give a file of samples") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise WishError(path, "is not a file", "give a file of samples, one JSON object a line")
        with os.fdopen(descriptor, "rb", closefd=False) as handle:
            content = handle.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    return of_content(os.path.basename(path), content, models)


def of_content(name: str, content: bytes, models: Known) -> list[Request]:
    """Return the requests of the content of a file of samples; ``name`` stands in messages."""
    if len(content) > MOST_BYTES:
        raise WishError(name, f"is larger than {MOST_BYTES >> 20} MiB", "give fewer or smaller samples")
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise WishError(
            name, "holds no sample", 'write one JSON object a line, {"instances": [...]} or {"inputs": {...}}'
        )
    if len(lines) > MOST_SAMPLES:
        raise WishError(name, f"has {len(lines)} samples", f"give at most {MOST_SAMPLES}")
    refusals = Refusals()
    found: list[Request] = [
        refusals.check(_of_line, Place(f"{name} line {number}", ", "), line, models) for number, line in lines
    ]
    refusals.stop()
    size = max(sum(len(each["grpc"]) for each in found), sum(len(each["rest"] or "") for each in found))
    if size > MOST_BODIES:
        words = f"makes requests of {size >> 20} MiB, of which {MOST_BODIES >> 20} MiB are the most"
        raise WishError(name, words, "give fewer or smaller samples")
    return found


def _of_line(place: Place, line: bytes, models: Known) -> Request:
    if len(line) > MOST_LINE_BYTES:
        raise WishError(place.path, f"is longer than {MOST_LINE_BYTES >> 20} MiB", "give a smaller sample")
    sample = _object(place.path, line)
    _check_keys(place, sample, OF_SAMPLE, "a sample")
    wanted = asked(place, models, _name(place, sample, "model"), _name(place, sample, "signature"))
    tolerance = _positive(place, sample, "tolerance", TOLERANCE, zero=True)
    return _request(place, sample, wanted, _positive(place, sample, "weight", 1.0), tolerance)


def of_probe(path: str, probe: Mapping[str, Any], model: str, models: Known) -> Request:
    """Return the request that a model's ``probe`` describes; ``path`` is that of the probe in the inventory."""
    place = Place(path)
    _check_keys(place, probe, OF_PROBE, "a probe")
    wanted = asked(place, models, model, probe.get("signature_name"))
    return _request(place, {key: held for key, held in probe.items() if held is not None}, wanted, 1.0, TOLERANCE)


def _object(path: str, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        words = {UnicodeDecodeError: "is not UTF-8", RecursionError: "is nested too deeply"}.get(type(error))
        where = f" (column {error.colno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else f" ({error})"
        raise WishError(path, words or f"is not JSON{where}", "write one JSON object a line") from None
    if not isinstance(value, dict):
        raise WishError(
            path, f"is {described(value)}", 'write a JSON object, {"instances": [...]} or {"inputs": {...}}'
        )
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _check_keys(place: Place, sample: Mapping[str, Any], known: Sequence[str], of: str) -> None:
    for key in sample:
        if key not in known:
            error = unknown_key("", key, of, known)
            where = place.of(error.path[1:]) if error.path else place.path
            raise WishError(where, error.problem, error.remedy)


def _name(place: Place, sample: Mapping[str, Any], key: str) -> str | None:
    value = sample.get(key)
    if value is not None and not isinstance(value, str):
        raise WishError(place.of(key), f"is {described(value)}", f"give the name of a {key}")
    return value


def _positive(place: Place, sample: Mapping[str, Any], key: str, default: float, zero: bool = False) -> float:
    value = sample.get(key, default)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
    if not is_number or math.isnan(value) or value < 0 or (not value and not zero):
        low = "0 or more" if zero else "more than 0"
        raise WishError(place.of(key), f"is {described(value)}", f"give a number, {low}")
    return float(value)


def _request(place: Place, sample: Mapping[str, Any], wanted: Asked, weight: float, tolerance: float) -> Request:
    form, inputs = request_inputs.form(place, sample), request_inputs.read(place, sample, wanted)
    expect = _expect(place, sample, wanted, form, inputs, tolerance)
    return request(wanted, inputs, form, weight, expect)


# --- what must come back -------------------------------------------------------------------------------------


def _expect(
    place: Place, sample: Mapping[str, Any], wanted: Asked, form: str, inputs: Mapping[str, Tensor], tolerance: float
) -> dict[str, Any] | None:
    """Return what the reply must be: by the signature, and with the values that the sample expects.

    ``expect`` is what REST answers, the list of predictions or the outputs; ``false`` leaves replies unchecked.
    """
    answer = sample.get("expect")
    if answer is False:
        return None
    found = expectation(wanted, tensors.rows_of(list(inputs.values())), tolerance)
    if answer is None:
        return found
    if found is None:
        raise WishError(place.of("expect"), "is for outputs of a type that cannot be read", "leave it out")
    outputs = found["outputs"]
    try:
        columns = replies.columns(list(outputs), answer, form == ROWS)
    except ValueError as error:
        raise _no_answer(place, f"is not what REST answers: {error}", outputs) from None
    for name in columns:
        if name not in outputs:
            raise _no_answer(place, f"names {shown(name)}, which is no output", outputs)
    for name, held in columns.items():
        outputs[name].update(_valued(place.of("expect"), name, outputs[name], held))
    return found


def _no_answer(place: Place, words: str, outputs: Mapping[str, Any]) -> WishError:
    return WishError(
        place.of("expect"), words, f"give the predictions or outputs as REST does, of {request_inputs.listed(outputs)}"
    )


def _valued(path: str, name: str, output: Mapping[str, Any], held: Any) -> dict[str, Any]:
    """Return the shape and the values that an output must have."""
    read = tensors.tensor(request_inputs.below(f"{path}.{shown(name)}"), output["dtype"], output["shape"], held)
    return {"shape": list(read.shape), "values": [tensors.expected(read.dtype, value) for value in read.values]}
