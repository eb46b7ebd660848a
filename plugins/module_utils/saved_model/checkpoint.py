# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The index of a checkpoint, read without TensorFlow, and the check that its shards are complete.

variables.index is a table of sorted strings (tensorflow/core/lib/io/table_builder.cc, LevelDB's format): blocks of
entries, an index block that names them, and a footer of 48 bytes; each block has a checksum, which TensorFlow compares
as it reads. Its values are BundleEntryProto, the first BundleHeaderProto
(tensorflow/core/protobuf/tensor_bundle.proto). TensorFlow writes it uncompressed.
"""

from __future__ import annotations

import functools
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import RefusalError
from .wire_format import MOST_VARINT_BYTES, DamageError, signed

INDEX = "variables/variables.index"

_FOOTER = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_PLAIN, _SNAPPY = 0, 1
# A compression byte and a checksum follow each block.
_TRAILER = 5
# Blocks are cut at 256 KiB; a single entry may be longer (a partitioned variable has its slices in it).
_MOST_BLOCK = 64 * 1024 * 1024
# The largest checkpoints have some ten thousand variables; reading this many takes a few seconds.
_MOST_ENTRIES = 2_000_000
# Checksums in pure Python are slow, a few seconds for this much; the rest is left to the server.
_MOST_SUMMED = 16 * 1024 * 1024
_MOST_SHARDS = 100_000


@dataclass
class Index:
    """The content of an index: the number of shards, and the minimum size of each.

    ``compressed``: part of it cannot be read, so that shards may have to be longer.
    """

    shards: int = 1
    needed: dict[int, int] = field(default_factory=dict)
    compressed: bool = False


def shard_name(shard: int, shards: int) -> str:
    """Return the path of a shard within a SavedModel."""
    return f"variables/variables.data-{shard:05d}-of-{shards:05d}"


def check(files: Mapping[str, int], path: str) -> None:
    """Refuse shards that are missing or shorter than the index says. ``files``: sizes by path; ``path``: the index."""
    index = read(path)
    for shard in range(index.shards):
        name = shard_name(shard, index.shards)
        if name not in files and (index.compressed or index.needed.get(shard)):
            raise RefusalError(f"it lacks {name}", "export or pack the model again")
        there, needed = files.get(name, 0), index.needed.get(shard, 0)
        if there < needed:
            raise RefusalError(
                f"its {name} has {there} bytes and {INDEX} needs {needed} of it", "export or copy the model again"
            )


def read(path: str) -> Index:
    """Return the content of an index. Raises RefusalError if it is damaged."""
    # Non-blocking: somebody may have put a FIFO there.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _Table(handle).index()
    except DamageError as error:
        raise RefusalError(f"its {INDEX} is damaged ({error})", "export or copy the model again") from None
    finally:
        os.close(handle)


class _Table:
    """An open table."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        found = os.fstat(handle)
        self.size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        self.entries = 0
        self.summed = 0

    def index(self) -> Index:
        if self.size < _FOOTER:
            raise DamageError("it is too short")
        footer = os.pread(self.handle, _FOOTER, self.size - _FOOTER)
        if len(footer) != _FOOTER or not footer.endswith(_MAGIC):
            raise DamageError("it does not end as one does")
        _offset, at = _varint(footer, 0)
        _size, at = _varint(footer, at)
        top = self._block(footer, at)
        if top is None:
            return Index(compressed=True)
        return self._collect(top)

    def _collect(self, top: bytes) -> Index:
        found, header = Index(), False
        # Blocks follow one another; overlapping ones would make a small file take long.
        past = 0
        for _key, handle in self._counted(top):
            offset, at = _varint(handle, 0)
            size, _at = _varint(handle, at)
            if offset < past:
                raise DamageError("its blocks overlap")
            past = offset + size + _TRAILER
            block = self._block(handle, 0)
            if block is None:
                found.compressed = True
                continue
            for key, value in self._counted(block):
                if key:
                    _enter(found, value)
                else:
                    found.shards, header = _shards(value), True
        if not header and not found.compressed:
            raise DamageError("it has no header")
        if any(shard >= found.shards for shard in found.needed):
            raise DamageError("it names a shard beyond their number")
        return found

    def _counted(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        for entry in _entries(block):
            self.entries += 1
            if self.entries > _MOST_ENTRIES:
                raise DamageError(f"it has more than {_MOST_ENTRIES} entries")
            yield entry

    def _block(self, handle: bytes, at: int) -> bytes | None:
        """Return the entries of the block that a handle points to; None if they are compressed."""
        offset, at = _varint(handle, at)
        size, _at = _varint(handle, at)
        if size > _MOST_BLOCK or offset + size + _TRAILER > self.size:
            raise DamageError("a block lies beyond its end")
        content = os.pread(self.handle, size + _TRAILER, offset)
        if len(content) != size + _TRAILER or content[size] not in (_PLAIN, _SNAPPY):
            raise DamageError("a block is of an unknown kind")
        self.summed += size
        summed = size + 1  # the byte after the block, which tells its kind, is included
        if self.summed <= _MOST_SUMMED and content[summed:] != masked_sum(content[:summed]):
            raise DamageError("a block is not what its checksum is of")
        return content[:size] if content[size] == _PLAIN else None


def _entries(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield key length and value of each entry of a block. Keys share their prefixes."""
    if len(block) < 4:
        raise DamageError("a block is too short")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise DamageError("a block is too short")
    at = key = 0
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > key or at + own + length > end:
            raise DamageError("an entry lies beyond its block")
        key = shared + own
        begin, at = at + own, at + own + length
        yield key, block[begin:at]


def masked_sum(content: bytes) -> bytes:
    """Return the checksum of a block in the form of its trailer (crc32c.h: CRC-32C, masked)."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _bit in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def _shards(value: bytes) -> int:
    shards = _numbers(value).get(1, 0)
    if not 0 < shards <= _MOST_SHARDS:
        raise DamageError(f"it counts {shards} shards")
    return shards


def _enter(index: Index, value: bytes) -> None:
    numbers = _numbers(value)
    shard, offset, size = (numbers.get(number, 0) for number in (3, 4, 5))
    if shard < 0 or offset < 0 or size < 0:
        raise DamageError("an entry has a place below 0")
    index.needed[shard] = max(index.needed.get(shard, 0), offset + size)
    if len(index.needed) > _MOST_SHARDS:
        raise DamageError(f"it names more than {_MOST_SHARDS} shards")


def _numbers(message: bytes) -> dict[int, int]:
    """Return the numbers of a small message by field; other fields are skipped."""
    found, at = {}, 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            found[key >> 3] = signed(value)
        elif kind == 2:
            length, at = _varint(message, at)
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise DamageError("an entry cannot be read")
    if at != len(message):
        raise DamageError("an entry is longer than what holds it")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(at + MOST_VARINT_BYTES, len(data))):
        value |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place + 1
        shift += 7
    raise DamageError("it ends in the middle of a number")
