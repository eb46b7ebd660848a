# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The health service of gRPC, asked without a library: of a real server, and of what is none."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import health


class Service(grpc.GenericRpcHandler):
    """Answers each call with the same bytes, or not at all."""

    def __init__(self, message):
        self.message = message

    def service(self, details):
        if details.method != "/grpc.health.v1.Health/Check" or self.message is None:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: self.message)


@contextmanager
def served(message):
    server = grpc.server(ThreadPoolExecutor(1), handlers=(Service(message),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"\x08\x01", "SERVING"),
        (b"\x08\x02", "NOT_SERVING"),
        (b"", "UNKNOWN"),
        (None, health.NO_SERVICE),
    ],
)
def test_the_state_of_a_server_is_its_own_word(message, status):
    with served(message) as port:
        found = health.check(port)
    assert found.status == status
    assert found.ms > 0


@contextmanager
def saying(words):
    """Run something that takes a connection, says some words, and closes it, or does not if there are none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = threading.Event()

        def talk():
            connection, _address = listener.accept()
            with connection:
                connection.recv(1 << 16)
                if words is None:
                    end.wait()
                else:
                    connection.sendall(words)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            end.set()
            thread.join()


def test_a_server_that_closes_the_connection_is_told():
    with saying(b"") as port, pytest.raises(OSError, match=r"closes the connection|reset"):
        health.check(port)


def test_something_else_than_grpc_is_told():
    with (
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 9999) as port,
        pytest.raises(OSError, match="something else"),
    ):
        health.check(port)


def test_a_server_that_says_nothing_is_told(monkeypatch):
    monkeypatch.setattr(health, "SECONDS", 0.2)
    with saying(None) as port, pytest.raises(OSError, match=r"timed out|within 0\.2 s"):
        health.check(port)
