# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Small SavedModels as TensorFlow would write them, put together byte by byte; test_saved_model.py holds them to it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import checkpoint

FLOAT, INT64 = 1, 9

INDEX = "variables/variables.index"
SHARD = "variables/variables.data-00000-of-00001"


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def entry(field: int, key: str, value: bytes) -> bytes:
    return part(field, part(1, key) + part(2, value))


def tensor(dtype: int, shape: Iterable[int] | None) -> bytes:
    dims = number(3, 1) if shape is None else b"".join(part(2, number(1, size)) for size in shape)
    return part(1, "x:0") + number(2, dtype) + part(3, dims)


def signature(
    inputs: Mapping[str, tuple[int, Iterable[int] | None]], outputs: Mapping[str, tuple[int, Iterable[int] | None]]
) -> bytes:
    return (
        b"".join(entry(1, name, tensor(*one)) for name, one in inputs.items())
        + b"".join(entry(2, name, tensor(*one)) for name, one in outputs.items())
        + part(3, "tensorflow/serving/predict")
    )


def node(name: str, op: str) -> bytes:
    return part(1, part(1, name) + part(2, op))


def graph(
    signatures: Mapping[str, bytes], ops: Iterable[str] = ("Placeholder",), tags: Iterable[str] = ("serve",),
    saver: bool = True, assets: Iterable[str] = (),
) -> bytes:  # fmt: skip
    return (
        part(1, b"".join(part(4, tag) for tag in tags))
        + part(2, b"".join(node(f"n{at}", op) for at, op in enumerate(ops)))
        + (part(3, part(1, "save/Const:0") + part(3, "save/restore_all")) if saver else b"")
        + b"".join(entry(5, name, content) for name, content in signatures.items())
        + b"".join(part(6, part(2, name)) for name in assets)
    )


def saved_model(*graphs: bytes) -> bytes:
    return number(1, 1) + b"".join(part(2, one) for one in graphs)


def model_pb(
    inputs: Mapping[str, tuple[int, Iterable[int] | None]] | None = None,
    outputs: Mapping[str, tuple[int, Iterable[int] | None]] | None = None,
    **more: object,
) -> bytes:
    """Return a saved_model.pb with one signature: by default rows of three floats to rows of one, with a variable."""
    served = signature(inputs or {"x": (FLOAT, [-1, 3])}, outputs or {"y": (FLOAT, [-1, 1])})
    return saved_model(graph({"serving_default": served}, **{"ops": ("Placeholder", "VarHandleOp"), **more}))


def block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a block of a table, its keys written out in full, with one restart point."""
    content = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    return content + struct.pack("<II", 0, 1)


def trailed(content: bytes, kind: int = 0) -> bytes:
    """Return a block with its kind and its checksum."""
    content += bytes([kind])
    return content + checkpoint.masked_sum(content)


def index(places: Iterable[tuple[int, int, int]], shards: int = 1, kind: int = 0) -> bytes:
    """Return a variables.index that names tensors by shard, offset and size."""
    entries = [(b"", number(1, shards))]
    for at, (shard, offset, size) in enumerate(places):
        value = number(1, FLOAT) + number(3, shard) + number(4, offset) + number(5, size)
        entries.append((f"v{at:06d}".encode(), value))
    data = block(entries)
    top = block([(b"z", varint(0) + varint(len(data)))])
    meta = block([])
    out = trailed(data, kind) + trailed(meta)
    handles = varint(len(data) + 5) + varint(len(meta)) + varint(len(out)) + varint(len(top))
    return out + trailed(top) + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


WEIGHTS = b"weights" * 100
MODEL = {"saved_model.pb": model_pb(), INDEX: index([(0, 0, len(WEIGHTS))]), SHARD: WEIGHTS}
FROZEN = {"saved_model.pb": model_pb(ops=("Placeholder", "Const"), saver=False)}
