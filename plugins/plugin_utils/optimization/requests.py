# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The requests that an original and its candidates are asked: recorded ones, or made-up ones for what is exact."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import tensors
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import FLOATS
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import (
    DEFAULT,
    Signature,
    Tensor,
    shown,
)

from ..benchmark import samples
from ..benchmark.bodies import Request, inputs_of
from ..benchmark.requests import generated
from ..phrases import counted, joined
from .bounds import LEAST_REQUESTS

# Made-up requests of each signature, for treatments that change nothing: every one of their values is compared.
MADE_UP, ROWS, SEED = 64, 4, 1
# Of golden requests, what the reader of samples has no use for (docs/golden.md).
OF_GOLDEN = ("name", "shape", "dtype", "rtol", "atol", "max_latency_ms", "must_fail", "expect", "tolerance")

Surveyed = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """The requests as the builder reads them, and what the gate knows of each by its number."""

    lines: Sequence[str]
    groups: Sequence[str]
    rows: Sequence[int]
    recorded: bool
    labels: Mapping[int, Sequence[float]] | None
    left_out: Sequence[str]
    """Signatures that nothing is asked of."""


def signatures(surveyed: Surveyed) -> dict[str, Signature]:
    """Return the signatures of the builder's survey."""
    return {
        name: Signature(
            str(each.get("method") or ""),
            {key: _tensor(held) for key, held in each["inputs"].items()},
            {key: _tensor(held) for key, held in each["outputs"].items()},
        )
        for name, each in surveyed["signatures"].items()
    }


def _tensor(held: Mapping[str, Any]) -> Tensor:
    return Tensor(str(held["dtype"]), None if held["shape"] is None else tuple(held["shape"]))


def made_up(model: str, surveyed: Surveyed) -> Asked:
    """Return requests of random values. Raises WishError where none can be made."""
    known, found, left_out = {model: signatures(surveyed)}, [], []
    for name, each in surveyed["signatures"].items():
        try:
            if each.get("parses_examples"):
                raise WishError(name, "parses examples, which nobody can make up", "")
            found += generated(known, model, ROWS if each.get("batchable") else 1, MADE_UP, SEED, name)
        except WishError:
            left_out.append(name)
    if not found:
        words = f"can be made up for none of the signatures of {shown(model)}"
        raise WishError("requests", words, "give recorded requests with -e requests=FILE")
    return _asked(found, False, None, left_out)


def recorded(path: str, labels: str | None, model: str, surveyed: Surveyed) -> Asked:
    """Return the requests of a file of samples or golden requests. Raises WishError with each line that is wrong."""
    name, content = os.path.basename(path), _content("requests", path, samples.MOST_BYTES)
    found = samples.of_content(name, b"\n".join(_samples(content)), {model: signatures(surveyed)})
    if len({each["grpc"] for each in found}) < LEAST_REQUESTS:
        differing = counted(len({each["grpc"] for each in found}), "different request")
        raise WishError("requests", f"{name} has {differing}", f"record at least {LEAST_REQUESTS}")
    unheard = sorted(set(surveyed["signatures"]) - {each["signature"] for each in found})
    return _asked(found, True, None if labels is None else of_labels(labels, found), unheard)


def _content(variable: str, path: str, most: int) -> bytes:
    try:
        return plain_files.read(os.path.expanduser(path), most)
    except OSError as error:
        why = error.strerror or str(error)
        raise WishError(variable, f"{path} cannot be read ({why})", "give a file of JSON lines") from None


def _samples(content: bytes) -> Iterator[bytes]:
    """Yield the lines as samples; those that are no JSON stay, to be refused by their number."""
    for line in content.split(b"\n"):
        try:
            held = json.loads(line)
            is_golden = isinstance(held, dict) and not set(held).isdisjoint({*OF_GOLDEN, "signature_name"})
        except (ValueError, RecursionError):
            is_golden = False
        yield _sample(held) if is_golden else line


def _sample(held: Mapping[str, Any]) -> bytes:
    """Return a golden request as a sample; one that must fail is none."""
    if held.get("must_fail"):
        return b""
    kept = {key: value for key, value in held.items() if key not in OF_GOLDEN}
    if "signature_name" in kept:
        kept["signature"] = kept.pop("signature_name")
    return json.dumps(kept).encode()


def _asked(
    found: Sequence[Request], is_recorded: bool, labels: Mapping[int, Sequence[float]] | None, left_out: Sequence[str]
) -> Asked:
    lines, groups = [], []
    for number, each in enumerate(found):
        inputs = inputs_of(each)
        if any(held.dtype not in tensors.OF_REST for held in inputs.values()):
            raise WishError("requests", f"request {number} has a type that JSON has no place for", "leave it out")
        columns = {name: tensors.to_json(held) for name, held in inputs.items()}
        lines.append(json.dumps({"signature_name": each["signature"], "inputs": columns}, separators=(",", ":")))
        groups.append(hashlib.sha256(lines[-1].encode()).hexdigest()[:16])
    return Asked(lines, groups, [each["items"] for each in found], is_recorded, labels, left_out)


def of_labels(path: str, found: Sequence[Request]) -> dict[int, list[float]]:
    """Return the labels of each request: a line of JSON for each, a number a row, or one number for one row."""
    name = os.path.basename(path)
    lines = [line for line in _content("labels", path, samples.MOST_BYTES).split(b"\n") if line.strip()]
    if len(lines) != len(found):
        problem = f"{name} has {counted(len(lines), 'line')} for {counted(len(found), 'request')}"
        raise WishError("labels", problem, "write one line for each request, in the same order")
    return {
        number: _labels(f"{name}:{number + 1}", line, each["items"])
        for number, (line, each) in enumerate(zip(lines, found))
    }


def _labels(place: str, line: bytes, rows: int) -> list[float]:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        raise WishError(place, "is not JSON", "write a number, or a list with a number for each row") from None
    values = held if isinstance(held, list) else [held]
    wrong = [
        each for each in values if isinstance(each, bool) or not isinstance(each, (int, float)) or abs(each) > 1e300
    ]
    if wrong:
        raise WishError(place, f"holds {described(wrong[0])}", "write numbers: a class by its place, a worth, a value")
    if len(values) != rows:
        raise WishError(
            place, f"has {counted(len(values), 'label')} for {counted(rows, 'row')}", "write one for each row"
        )
    return [float(each) for each in values]


def answer_of(wanted: str | None, asked: Sequence[str], surveyed: Surveyed) -> str:
    """Return the output that a task is judged by: the wanted one, or the only float output of what was recorded.

    :param asked: the signatures that requests were recorded for.
    """
    outputs = {
        name: held["dtype"]
        for each in (asked or (DEFAULT,))
        for name, held in surveyed["signatures"].get(each, {"outputs": {}})["outputs"].items()
    }
    able = sorted(name for name, dtype in outputs.items() if dtype in FLOATS)
    if wanted is not None:
        if wanted not in able:
            listed = joined([shown(name) for name in able[:8]]) or "none"
            raise WishError("answer", f"{shown(wanted)} is no output of fractions", f"it has {listed}")
        return wanted
    if len(able) != 1:
        listed = joined([shown(name) for name in able[:8]]) or "none"
        raise WishError("answer", f"is missing, and the model gives {listed}", "name the output that callers use")
    return str(able[0])
