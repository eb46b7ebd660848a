# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model or a candidate to recorded requests, as they were and at each batch size."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import graphs, lite, tensors
from .runtime import FailureError, numpy, sentence, tensorflow
from .sessions import loaded

FILE = "answers.jsonl"
LARGEST_REQUESTS = 512 * 1024 * 1024
LARGEST_LINE = 64 * 1024 * 1024
MOST_REQUESTS = 100_000
# Answers are compared on the controller, which reads them line by line.
LARGEST_ANSWERS = 4 * 1024 * 1024 * 1024
DEFAULT = "serving_default"

Arrays = dict[str, Any]
Call = Callable[[str, Arrays], Arrays]


@dataclass
class Asked:
    """One request: its place in the file, its signature, its inputs, or why it cannot be asked."""

    place: int
    signature: str
    inputs: Arrays
    error: str = ""

    @property
    def rows(self) -> int:
        """Return the rows, or 0 where the inputs have no common number of them."""
        counts = {array.shape[0] if array.ndim else 0 for array in self.inputs.values()}
        return counts.pop() if len(counts) == 1 else 0

    @property
    def group(self) -> tuple[Any, ...]:
        """Return what requests have in common that can share a batch."""
        return (self.signature, *sorted((name, array.shape[1:]) for name, array in self.inputs.items()))


def answer(model: Path, out: Path, requests: Path, sizes: list[int | None], recipe: dict[str, Any] | None) -> Arrays:
    """Write the answers; return how many there are. Raises FailureError where the model does not load."""
    signatures = graphs.signatures(graphs.served(graphs.read(model)))
    asked = list(read(requests, signatures))
    written = lines = failed = 0
    with caller(model, recipe) as call, (out / FILE).open("w", encoding="ascii") as file:
        for size in sizes:
            for line in _at_size(call, asked, size):
                written += file.write(json.dumps(line) + "\n")
                lines += 1
                failed += bool(line["error"])
                if written > LARGEST_ANSWERS:
                    raise FailureError(f"the answers are larger than {LARGEST_ANSWERS >> 30} GiB: give fewer requests")
    return {"file": FILE, "requests": len(asked), "lines": lines, "failed": failed}


def read(requests: Path, signatures: dict[str, Any]) -> Iterator[Asked]:
    """Yield the requests of a file. Raises FailureError for a file that is none."""
    try:
        size = requests.stat().st_size
        file = requests.open("rb")
    except OSError as error:
        raise FailureError(f"{requests} cannot be read: {(error.strerror or 'unknown error').lower()}") from error
    if size > LARGEST_REQUESTS:
        raise FailureError(f"{requests} is larger than {LARGEST_REQUESTS >> 20} MiB: give fewer requests")
    with file:
        place = 0
        for line in iter(lambda: file.readline(LARGEST_LINE), b""):
            if not line.strip():
                continue
            if place == MOST_REQUESTS:
                raise FailureError(f"{requests} has more than {MOST_REQUESTS} requests")
            yield _asked(place, line, signatures)
            place += 1


def _asked(place: int, line: bytes, signatures: dict[str, Any]) -> Asked:
    name = DEFAULT
    try:
        held = json.loads(line)
        if not isinstance(held, dict):
            raise FailureError("it is no mapping")
        name = held.get("signature_name") or DEFAULT
        if not isinstance(name, str) or name not in signatures:
            raise FailureError(f"the model has no signature {str(name)[:100]}")
        return Asked(place, name, tensors.inputs(held, signatures[name]))
    except (ValueError, RecursionError):
        return Asked(place, DEFAULT, {}, "it is not JSON")
    except FailureError as error:
        return Asked(place, str(name)[:100], {}, str(error))


def _at_size(call: Call, asked: list[Asked], size: int | None) -> Iterator[dict[str, Any]]:
    """Yield the answers at a batch size, in the order of the requests."""
    found = {each.place: _line(each, size, error=each.error) for each in asked if each.error}
    fit = [each for each in asked if not each.error]
    if size is None:
        found.update((each.place, _alone(call, each)) for each in fit)
    else:
        groups: dict[tuple[Any, ...], list[Asked]] = {}
        for each in fit:
            groups.setdefault(each.group, []).append(each)
        for group in groups.values():
            found.update((line["request"], line) for line in _batched(call, group, size))
    yield from (found[each.place] for each in asked)


def _line(asked: Asked, size: int | None, outputs: Arrays | None = None, error: str = "") -> dict[str, Any]:
    plain = {name: tensors.plain(array) for name, array in sorted((outputs or {}).items())}
    place = {"request": asked.place, "batch_size": size, "signature": asked.signature}
    return {**place, "error": error, "outputs": plain}


def _alone(call: Call, asked: Asked) -> dict[str, Any]:
    try:
        return _line(asked, None, call(asked.signature, asked.inputs))
    except FailureError as error:
        return _line(asked, None, error=str(error))


def _batched(call: Call, group: list[Asked], size: int) -> Iterator[dict[str, Any]]:
    fit = [each for each in group if each.rows]
    yield from (_line(each, size, error="it has no rows to batch") for each in group if not each.rows)
    if not fit:
        return
    try:
        outputs = _in_batches(call, fit, size)
    except FailureError as error:
        yield from (_line(each, size, error=str(error)) for each in fit)
        return
    first = 0
    for each in fit:
        own = slice(first, first + each.rows)
        yield _line(each, size, {name: array[own] for name, array in outputs.items()})
        first += each.rows


def _in_batches(call: Call, group: list[Asked], size: int) -> Arrays:
    """Return the outputs for the rows of all requests, answered a batch at a time."""
    np = numpy()
    joined = {name: np.concatenate([each.inputs[name] for each in group]) for name in group[0].inputs}
    total = sum(each.rows for each in group)
    parts: list[Arrays] = []
    for first in range(0, total, size):
        # The last batch is filled up from the front.
        rows = np.arange(first, first + size) % total
        outputs = call(group[0].signature, {name: array[rows] for name, array in joined.items()})
        if any(array.ndim == 0 or array.shape[0] != size for array in outputs.values()):
            raise FailureError("an output has not one row for each row of the batch")
        parts.append(outputs)
    return {name: np.concatenate([each[name] for each in parts])[:total] for name in parts[0]}


@contextlib.contextmanager
def caller(model: Path, recipe: dict[str, Any] | None) -> Iterator[Call]:
    """Yield the function that answers as a server would: by a session, or by model.tflite."""
    if recipe and recipe["kind"].startswith("tflite"):
        yield _lite_call(model)
        return
    with loaded(model, recipe) as (session, graph):

        def call(name: str, inputs: Arrays) -> Arrays:
            signature = graph.signature_def[name]
            feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
            wanted = {key: tensor.name for key, tensor in signature.outputs.items()}
            try:
                return {key: numpy().asarray(value) for key, value in session.run(wanted, feeds).items()}
            except Exception as error:  # of TensorFlow, which has a class for each status and raises others too
                raise FailureError(f"it fails: {sentence(error)}") from error

        yield call


def _lite_call(model: Path) -> Call:
    path = model / lite.FILE
    if not path.is_file():
        raise FailureError(f"the candidate has no {lite.FILE}")
    try:
        interpreter = tensorflow().lite.Interpreter(model_path=str(path))
        names = set(interpreter.get_signature_list())
    except Exception as error:  # of TFLite's parser
        raise FailureError(f"{lite.FILE} does not load: {sentence(error)}") from error

    def call(name: str, inputs: Arrays) -> Arrays:
        if name not in names:
            raise FailureError(f"the candidate has no signature {name}")
        try:
            return dict(interpreter.get_signature_runner(name)(**inputs))
        except Exception as error:  # of TFLite's kernels
            raise FailureError(f"it fails: {sentence(error)}") from error

    return call
