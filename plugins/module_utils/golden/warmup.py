# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up records, made without TensorFlow: a TFRecord file of PredictionLog, which the server replays as it loads.

The file is assets.extra/tf_serving_warmup_requests in a version's directory. A record that the model refuses, or that
cannot be read, makes the load fail, so every record is decoded again before it is used. TFRecord is a length (8 bytes,
little-endian), its masked CRC-32C, the content and its masked CRC-32C (tensorflow/core/lib/io/record_writer.cc).
PredictionLog.predict_log is field 6, PredictLog.request field 1 (apis/prediction_log.proto).
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import RefusalError, WishError
from ..load import messages
from ..load.messages import Tensor
from ..saved_model import signatures
from ..saved_model.checkpoint import masked_sum
from ..saved_model.signatures import Signature
from . import requests, tensors

FILE = "assets.extra/tf_serving_warmup_requests"

# saved_model_warmup_util.h, WarmupConsts::kMaxNumRecords: one more and the load fails.
MOST_RECORDS = 1000
# The checksums of this much take four seconds in pure Python.
MOST_BYTES = 20 * 1024 * 1024

_PREDICT_LOG, _REQUEST = 6, 1
_HEAD = struct.Struct("<Q")
_SUM_BYTES = 4


@dataclass(frozen=True)
class Wish:
    """What a model's warm-up records are made of: its requests and the batch sizes of the instances that serve it.

    ``origin`` names the requests in messages, ``key`` the part of the wish that they are of. ``digest`` tells
    requests from others.
    """

    requests: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[int, ...] = (1,)
    origin: str = ""
    key: str = "golden"
    digest: str = ""


@dataclass
class Made:
    """The content of a warm-up file: how many records, of which batch sizes, and those sizes that are left out."""

    content: bytes = b""
    records: int = 0
    sizes: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)


def made(wish: Wish, model: str, known: Mapping[str, Signature]) -> Made:
    """Return the warm-up file of a model with these signatures. Raises RefusalError if it does not take a request.

    Of each signature that the requests are for, the first request is taken that must not fail and is no empty batch,
    once for each batch size, its rows again and again. One whose rows cannot be batched is taken as it is. The largest
    sizes are left out where the file would get too large.
    """
    found, sent = Made(), []
    for name, inputs in _inputs(wish, model, known).items():
        batched = not signatures.unbatchable(known, name) and tensors.rows_of(list(inputs.values()))
        for size in sorted(set(wish.sizes)) if batched else (0,):
            if not _fits(found, inputs, size / batched if batched else 1):
                found.left_out.append(size)
                continue
            rows = {key: tensors.with_rows(held, size) for key, held in inputs.items()} if size else inputs
            found.content += record(_log(messages.encode_request(model, name, rows)))
            found.records += 1
            found.sizes += [size] if size and size not in found.sizes else []
            sent.append((name, rows))
    _prove(found.content, sent)
    return found


def _inputs(wish: Wish, model: str, known: Mapping[str, Signature]) -> dict[str, dict[str, Tensor]]:
    """Return the inputs of the first request of each signature that has a row to repeat, where rows count."""
    found: dict[str, dict[str, Tensor]] = {}
    for request in wish.requests:
        name = requests.signature_name(request)
        if name in found or request.get("must_fail"):
            continue
        path = f"{wish.origin}:{request['line']}" if "line" in request else wish.origin
        if name not in known:
            there = ", ".join(signatures.shown(each) for each in sorted(known) if not each.startswith("__")) or "none"
            raise RefusalError(
                f"{path} is for the signature {signatures.shown(name)}, and the model has {there[:200]}",
                "give requests that the model takes",
                wish.key,
            )
        try:
            inputs = requests.tensors_of(request, model, known[name], path)
        except WishError as error:
            raise RefusalError(f"{error.path} {error.problem}", error.remedy, wish.key) from None
        # An empty batch would warm up nothing, and no size of batches can be made of it.
        if signatures.unbatchable(known, name) or tensors.rows_of(list(inputs.values())) != 0:
            found[name] = inputs
    return found


def _fits(found: Made, inputs: Mapping[str, Tensor], times: float) -> bool:
    """Return whether a record of the inputs' rows so many times over fits, judged before it is built."""
    most = max((len(held.values) for held in inputs.values()), default=0)
    if found.records == MOST_RECORDS or most * times > messages.MOST_VALUES:
        return False
    # Names, shapes and lengths take less than a kibibyte each.
    size = sum(len(messages.encode_tensor(held)) for held in inputs.values()) * times + 1024 * (1 + len(inputs))
    return len(found.content) + size <= MOST_BYTES


def _log(request: bytes) -> bytes:
    return messages.delimited(_PREDICT_LOG, messages.delimited(_REQUEST, request))


def record(content: bytes) -> bytes:
    """Return one record of a TFRecord file."""
    head = _HEAD.pack(len(content))
    return b"".join((head, masked_sum(head), content, masked_sum(content)))


def records(file: bytes) -> Iterator[bytes]:
    """Yield the contents of the records of a TFRecord file. Raises ValueError for bytes that are none."""
    stream = io.BytesIO(file)
    while head := stream.read(_HEAD.size):
        if len(head) != _HEAD.size or stream.read(_SUM_BYTES) != masked_sum(head):
            raise ValueError("the length of a record is not what its checksum is of")
        content = stream.read(min(_HEAD.unpack(head)[0], len(file)))
        if stream.read(_SUM_BYTES) != masked_sum(content):
            raise ValueError("a record is not what its checksum is of")
        yield content


def request_of(content: bytes) -> bytes:
    """Return the PredictRequest in a record's PredictionLog. Raises ValueError if it holds another one."""
    return messages.only(messages.only(content, _PREDICT_LOG), _REQUEST)


def _prove(file: bytes, sent: Sequence[tuple[str, Mapping[str, Tensor]]]) -> None:
    """Raise RefusalError unless the file is decoded to what was encoded. It always is; a wrong one stops the server."""
    try:
        found = [messages.decode_request(request_of(content)) for content in records(file)]
        again = [messages.encode_request("", "", each) for each in found]
    except ValueError as error:
        raise _no_proof(str(error)) from None
    if again != [messages.encode_request("", "", rows) for _name, rows in sent]:
        raise _no_proof("they hold other values")


def _no_proof(words: str) -> RefusalError:
    return RefusalError(
        f"its warm-up records do not read back ({words})", "write warmup: false and report this", "warmup"
    )


def add(tree: str, wish: Wish, model: str, known: Mapping[str, Signature]) -> Made | None:
    """Write the warm-up file of an unpacked version. Return None if it brings its own, which it keeps, or for no wish.

    Raises RefusalError if the model does not take a request, OSError if the file cannot be written.
    """
    path = os.path.join(tree, *FILE.split("/"))
    if not wish.requests or os.path.lexists(path):
        return None
    found = made(wish, model, known)
    if not found.records:
        return None
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "xb") as file:
        file.write(found.content)
    return found


def _sizes(batching: Mapping[str, Any]) -> list[int]:
    """Return the sizes of batches; a server that cuts large requests runs none of their own size."""
    largest = batching.get("max_batch_size")
    if batching.get("enable_large_batch_splitting"):
        largest = batching.get("max_execution_batch_size") or largest
    allowed = [int(size) for size in batching.get("allowed_batch_sizes") or ()]
    return [size for size in allowed if not largest or size <= int(largest)] or [int(largest or 1)]


def batch_sizes(instances: Iterable[Mapping[str, Any]]) -> tuple[int, ...]:
    """Return the batch sizes that the servers of these instances run a model with; 1 for those without batching."""
    found: set[int] = set()
    for instance in instances:
        batching = instance.get("batching") if (instance.get("flags") or {}).get("enable_batching") else None
        found.update(_sizes(batching or {}))
    return tuple(sorted(found)) or (1,)
