# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Protobuf's wire format, read from an untrusted file.

The file stays on disk: unneeded fields are skipped, so that a graph of hundreds of MB takes one window of memory. Every
message must end exactly where its length says (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

WINDOW = 256 * 1024
# A field number and a length take at most ten bytes each.
MOST_VARINT_BYTES = 10
# The C++ library reads no larger message (CodedInputStream's limit is a signed 32-bit number).
MOST_BYTES = 2**31 - 1
# A node has about eight fields, so this is a graph of 600,000 nodes; traversing it takes some ten seconds.
MOST_FIELDS = 5_000_000
# Names of tensors and signatures; no exporter writes longer ones.
MOST_TEXT_BYTES = 64 * 1024


class DamageError(ValueError):
    """The bytes are not a message; the text says why."""


class Field(NamedTuple):
    """One field: its number, its wire type, its value if numeric, and the position of its bytes in the file."""

    number: int
    kind: int
    value: int
    start: int
    end: int


class Wire:
    """An open file as a message. ``close`` it, or use it in a ``with`` statement."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(self._handle)
        self.size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        self._window = b""
        self._at = 0
        self._fields = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._handle)

    def fields(self, start: int = 0, end: int | None = None) -> Iterator[Field]:
        """Yield the fields of the message between two file positions. Raises DamageError if it is not one."""
        at, end = start, self.size if end is None else end
        while at < end:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise DamageError(f"it has more than {MOST_FIELDS} parts")
            key, at = self._varint(at, end)
            number, kind = key >> 3, key & 7
            if not 0 < number < 2**29:
                raise DamageError(f"impossible field number at byte {at}")
            value, begin, at = self._content(kind, at, end)
            if at > end:
                raise DamageError(f"a part at byte {begin} is longer than what holds it")
            yield Field(number, kind, value, begin, at)

    def _content(self, kind: int, at: int, end: int) -> tuple[int, int, int]:
        """Return the number, the first byte and the end of a field's content."""
        if kind == BYTES:
            length, at = self._varint(at, end)
            return 0, at, at + length
        if kind == VARINT:
            value, after = self._varint(at, end)
            return value, at, after
        if kind in (FIXED32, FIXED64):
            return 0, at, at + (8 if kind == FIXED64 else 4)
        # Groups (3 and 4) belong to proto1; TensorFlow has none.
        raise DamageError(f"impossible field at byte {at}")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        inner = at - self._at
        if not 0 <= inner <= len(self._window) - MOST_VARINT_BYTES:
            inner = self._load(at)
        value = shift = 0
        for place in range(inner, min(inner + MOST_VARINT_BYTES, inner + end - at, len(self._window))):
            byte = self._window[place]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at + place - inner + 1
            shift += 7
        raise DamageError(f"it ends in the middle of a number at byte {at}")

    def _load(self, at: int) -> int:
        """Move the window to a file position; return the position within the window."""
        self._window = os.pread(self._handle, WINDOW, at)
        self._at = at
        return 0

    def read(self, field: Field, most: int = MOST_TEXT_BYTES) -> bytes:
        """Return the bytes of a field."""
        length = field.end - field.start
        if length > most:
            raise DamageError(f"a text at byte {field.start} has {length} bytes")
        begin = field.start - self._at
        if not 0 <= begin <= len(self._window) - length:
            begin = self._load(field.start)
        end = begin + length
        found = self._window[begin:end]
        if len(found) != length:
            raise DamageError(f"it ends at byte {field.start + len(found)}")
        return found

    def text(self, field: Field) -> str:
        """Return the text of a field; like the C++ library, refuse a message whose texts are not UTF-8."""
        try:
            return self.read(field).decode("utf-8")
        except UnicodeDecodeError:
            raise DamageError(f"a text at byte {field.start} is not UTF-8") from None


def signed(value: int) -> int:
    """Return a varint as the signed number that it encodes."""
    return value - 2**64 if value >= 2**63 else value
