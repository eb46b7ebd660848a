# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A reply of HTTP/1.1 is the same however it arrives, bounded, and refused where it is none."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.http_reply import (
    LARGEST_BODY,
    LONGEST_HEAD,
    BadReplyError,
    Reply,
)
from hypothesis import given
from hypothesis import strategies as st

COUNTED = b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length: 7\r\n\r\n0123456"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\n012\r\n4\r\n3456\r\n0\r\nX: 1\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED


@pytest.mark.parametrize("whole", [COUNTED, CHUNKED, CONTINUED])
@given(data=st.data())
def test_a_reply_in_any_pieces_is_the_same(whole, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1))))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)])]
    reply = Reply()
    assert [reply.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (reply.status, reply.body, reply.close) == (200, b"0123456", False)


@pytest.mark.parametrize(
    ("head", "status", "close"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503, False),
        (b"HTTP/1.1 204 None\r\n\r\n", 204, False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", 200, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, True),
    ],
)
def test_a_reply_without_a_body_ends_with_its_head(head, status, close):
    reply = Reply()
    assert reply.feed(head)
    assert (reply.status, reply.body, reply.close) == (status, b"", close)


def test_a_reply_without_a_length_ends_with_the_connection():
    reply = Reply()
    assert not reply.feed(b"HTTP/1.1 200 OK\r\n\r\nbo")
    assert not reply.feed(b"dy")
    assert reply.end()
    assert (reply.body, reply.close) == (b"body", True)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200", COUNTED[:-1], CHUNKED[:-2]])
def test_a_connection_that_ends_early_leaves_no_reply(part):
    reply = Reply()
    assert not reply.feed(part)
    assert not reply.end()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        (b"HTTP/2 200 OK\r\n\r\n", "malformed"),
        (b"HTTP/1.1 x00 OK\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 5000 + b"\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "malformed"),
        (COUNTED + b"more", "malformed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONGEST_HEAD, "too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGEST_BODY + 1), "too_large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "too_large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5000, "too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LARGEST_BODY + 1), "too_large"),
    ],
)
def test_what_is_no_reply_or_too_large_is_refused_in_a_word(data, word):
    with pytest.raises(BadReplyError, match=f"^{word}$"):
        Reply().feed(data)


def test_a_body_of_the_largest_size_is_taken():
    reply = Reply()
    assert reply.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGEST_BODY + b"x" * LARGEST_BODY)
    assert len(reply.body) == LARGEST_BODY
