# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server may do to whoever calls it by gRPC: so much time, so much memory, one sentence at the end.

lab/reference_server/tests/test_golden_answers.py calls grpc's own server.
"""

from __future__ import annotations

import ssl
import struct

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import unary
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.unary import CallError, StatusError, Target
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub_grpc import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    TRAILERS,
    frame,
    literal,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import LONG_S
from ports import free_port
from serving_double import HostileServer

GREETING = frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)
KIB = 1024


def head(content: bytes = HEAD, flags: int = 0) -> bytes:
    return frame(HEADERS, END_HEADERS | flags, 1, content)


def message(content: bytes, compressed: int = 0, size: int | None = None) -> bytes:
    return frame(DATA, 0, 1, struct.pack(">BI", compressed, len(content) if size is None else size) + content)


END = head(TRAILERS, END_STREAM)


def answer(*parts: bytes, seconds: float = LONG_S, most: int = KIB, pause_s: float = 0.0) -> bytes | str:
    """Return the answer of a server that sends these frames, or the words of the refusal."""
    with HostileServer([GREETING, *parts], pause_s) as server:
        try:
            return unary.call(Target("127.0.0.1", server.port), "/a.B/C", b"asked", seconds, most)
        except (CallError, StatusError) as error:
            return f"{type(error).__name__}: {error}"


def test_an_answer_comes_whole_from_however_many_frames():
    assert answer(head(), message(b"told"), END) == b"told"
    whole = message(b"told")
    assert answer(head(), frame(DATA, 0, 1, whole[9:12]), frame(DATA, 0, 1, whole[12:]), END) == b"told"
    assert answer(head(), message(b""), END) == b""


def refusal(status: bytes, words: bytes) -> bytes:
    return HEAD + literal(b"grpc-status", status) + literal(b"grpc-message", words)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([head(refusal(b"3", b"no%20such%0Ainput"), END_STREAM)], "StatusError: INVALID_ARGUMENT: no such\\ninput"),
        ([head(), message(b"x"), head(literal(b"grpc-status", b"14"), END_STREAM)], "StatusError: UNAVAILABLE"),
        ([head(refusal(b"99", b"\x1b[31m"), END_STREAM)], "StatusError: status 99: \\x1b[31m"),
        ([head(), message(b"x", compressed=1), END], "CallError: sends a message that is not whole"),
        ([head(), message(b"x", size=2), END], "CallError: sends a message that is not whole"),
        ([head(), END], "CallError: sends a message that is not whole"),
        ([head(), message(b"x" * 2 * KIB), END], "CallError: sends more than 1 KiB"),
        ([head(), message(b"x")], "CallError: closes the connection before the end of its answer"),
        ([head(HEAD, END_STREAM)], "CallError: does not speak gRPC"),
        ([head(b"\x8d", END_STREAM)], "CallError: does not speak gRPC"),  # :status 404
        ([frame(RST_STREAM, 0, 1, struct.pack(">I", 7))], "CallError: breaks off the call (error 7)"),
        ([frame(GOAWAY, 0, 0, struct.pack(">II", 0, 2))], "CallError: ends the connection (error 2)"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "CallError: closes the connection before the end of its answer"),
    ],
)
def test_every_other_end_is_a_sentence(parts, words):
    assert answer(*parts) == words


def test_frames_beside_an_answer_are_limited():
    pings = frame(6, 0, 0, b"x" * 8) * 1000
    assert answer(*([pings] * 200)) == "CallError: sends more than 1 KiB"


def test_a_server_that_drips_runs_out_of_time():
    assert answer(*([frame(6, 0, 0, b"x" * 8)] * 10_000), seconds=0.5, pause_s=0.05) == (
        "CallError: has not answered in full after 0.5 s"
    )


def test_a_port_where_nobody_listens_is_told():
    with pytest.raises(CallError, match=r"^does not answer \(Connection refused\)$"):
        unary.call(Target("127.0.0.1", free_port()), "/a.B/C", b"", LONG_S, KIB)


def test_without_h2_the_package_is_named(monkeypatch):
    monkeypatch.setattr(unary, "HAS_H2", False)
    with pytest.raises(CallError) as caught:
        unary.call(Target("127.0.0.1", 1), "/a.B/C", b"", LONG_S, KIB)
    assert str(caught.value) == (
        "cannot be asked: the Python package h2 is missing, without which no call can be made; install python3-h2"
    )


def test_a_server_without_tls_where_tls_is_expected_is_told():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with HostileServer([GREETING]) as server, pytest.raises(CallError, match="does not shake hands for TLS"):
        unary.call(Target("127.0.0.1", server.port, context), "/a.B/C", b"", LONG_S, KIB)


def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    for path, words in (("/nowhere", "No such file or directory"), (str(tmp_path / "ca.pem"), ".+")):
        with pytest.raises(CallError, match=rf"^takes only TLS, and {path} or /none cannot be used \({words}\)$"):
            unary.secure(path, "/none")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([head(), message(b"x"), END, GREETING]), max_size=6))
def test_no_bytes_end_in_anything_but_an_answer_or_a_sentence(parts):
    assert isinstance(answer(*parts), (bytes, str))
