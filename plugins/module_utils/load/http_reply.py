# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One reply of HTTP/1.1, put together from whatever pieces arrive: bounded in its head, its body and its chunks."""

from __future__ import annotations

# Four times what common servers accept of a client.
LONGEST_HEAD = 64 * 1024
# The body of a reply: 2 million numbers as JSON. A larger one is an error, not a reason to fill memory.
LARGEST_BODY = 16 * 1024 * 1024
# A line with the size of a chunk: 8 hexadecimal digits and, rarely, an extension.
LONGEST_LINE = 4096


class BadReplyError(ValueError):
    """The bytes are no reply, or one beyond the bounds. The text is a short word for the table of errors."""


class Reply:
    """A reply as it arrives. ``feed`` returns whether it is whole; then ``status``, ``body`` and ``close`` hold."""

    __slots__ = ("_buffer", "_chunked", "_left", "_parts", "_size", "_state", "body", "close", "status")

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.close = False
        self._buffer = b""
        self._chunked = False
        self._left = 0
        self._size = 0
        self._parts: list[bytes] = []
        self._state = self._head

    @property
    def begun(self) -> bool:
        """Whether any byte has arrived."""
        return bool(self.status or self._buffer)

    def feed(self, data: bytes) -> bool:
        """Take the bytes that arrived; return whether the reply is whole. Raise BadReplyError where they are none."""
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            done = self._state()
            if done is None:
                return False
            if done:
                if self._buffer:
                    raise BadReplyError("malformed")
                self.body = b"".join(self._parts)
                return True

    def end(self) -> bool:
        """The server has closed the connection: return whether that makes the reply whole."""
        if self._state != self._until_end:
            return False
        self.body = b"".join(self._parts)
        return True

    # Each state returns None where it needs more bytes, False where the next state goes on, True at the end.

    def _head(self) -> bool | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > LONGEST_HEAD:
            if len(self._buffer) > LONGEST_HEAD:
                raise BadReplyError("too_large")
            return None
        head = self._buffer[:end].lower()
        self._drop(end + 4)
        self.status = _status(head)
        if self.status < 200:  # 100 Continue and its like: the reply itself follows
            return False
        self.close = b"\r\nconnection: close" in head or head.startswith(b"http/1.0")
        if self.status in (204, 304):
            return True
        self._state = self._body_state(head)
        return False

    def _body_state(self, head: bytes):  # type: ignore[no-untyped-def]
        if b"\r\ntransfer-encoding:" in head:
            if _header(head, b"transfer-encoding") != b"chunked":
                raise BadReplyError("malformed")
            return self._chunk_size
        length = _header(head, b"content-length")
        if length is None:
            self.close = True
            return self._until_end
        if not length.isdigit() or len(length) > 12:
            raise BadReplyError("malformed")
        self._left = self._bounded(int(length))
        return self._counted

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]

    def _bounded(self, size: int) -> int:
        self._size += size
        if self._size > LARGEST_BODY:
            raise BadReplyError("too_large")
        return size

    def _take(self) -> bool:
        """Take the bytes that are left of a body or a chunk; return whether that was all."""
        part = self._buffer[: self._left]
        self._drop(self._left)
        self._left -= len(part)
        self._parts.append(part)
        return not self._left

    def _counted(self) -> bool | None:
        return True if self._take() else None

    def _until_end(self) -> bool | None:
        self._left = self._bounded(len(self._buffer))
        self._take()
        return None

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end > LONGEST_LINE or (end < 0 and len(self._buffer) > LONGEST_LINE):
            raise BadReplyError("too_large")
        if end < 0:
            return None
        line = self._buffer[:end]
        self._drop(end + 2)
        return line

    def _chunk_size(self) -> bool | None:
        line = self._line()
        if line is None:
            return None
        digits = line.partition(b";")[0].strip()
        if not 1 <= len(digits) <= 8 or digits.strip(b"0123456789abcdefABCDEF"):
            raise BadReplyError("malformed")
        self._left = self._bounded(int(digits, 16))
        self._state = self._chunk if self._left else self._trailer
        return False

    def _chunk(self) -> bool | None:
        if not self._take():
            return None
        self._state = self._chunk_end
        return False

    def _chunk_end(self) -> bool | None:
        line = self._line()
        if line is None:
            return None
        if line:
            raise BadReplyError("malformed")
        self._state = self._chunk_size
        return False

    def _trailer(self) -> bool | None:
        line = self._line()
        if line is None:
            return None
        self._size += len(line)
        if self._size > LARGEST_BODY:
            raise BadReplyError("too_large")
        return not line


def _status(head: bytes) -> int:
    if not head.startswith((b"http/1.1 ", b"http/1.0 ")) or not head[9:12].isdigit() or head[9:10] == b"0":
        raise BadReplyError("malformed")
    return int(head[9:12])


def _header(head: bytes, name: bytes) -> bytes | None:
    """Return the value of a header in a head in lower case; None where there is none."""
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start:].partition(b"\r\n")[0].strip()
