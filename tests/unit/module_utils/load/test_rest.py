# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Connections of HTTP/1.1: kept, more where all are busy, bounded, given up and replaced, and with TLS."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import rest, target
from ansible_collections.tfserving.fleet.plugins.module_utils.load.engine import Call, Whole
from ansible_collections.tfserving.fleet.plugins.module_utils.load.rest import Rest, prepared
from certificates import self_signed
from patience import LONG_S

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server(asyncio.Protocol):
    """Counts connections; answers each request when the test says so."""

    def __init__(self, log):
        self.log = log

    def connection_made(self, transport):
        self.transport = transport
        self.log.append(self)

    def data_received(self, data):
        self.data = data


class Bench:
    """A client and its server in one loop."""

    def __init__(self, *, least=1, most=10, tls=None, server_tls=None):
        self.least, self.most, self.tls, self.server_tls = least, most, tls, server_tls
        self.served, self.ended = [], []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Server(self.served), "127.0.0.1", 0, ssl=self.server_tls)
        self.port = self.server.sockets[0].getsockname()[1]
        where = {"host": "127.0.0.1", "rest": self.port, "tls": self.tls}
        self.client = Rest(where, [prepared(where, "/v1/models/m:predict", b"{}")], self.least, self.most)
        self.client.finish = lambda call, error, reply=b"": self.ended.append((call.number, error, reply))
        return self

    async def __aexit__(self, *rest):
        await self.client.close()
        for each in self.served:
            each.transport.abort()
        self.server.close()

    def send(self, number):
        call = Call(number, 0.0, 10.0, 0, (0, True), Whole(1))
        self.client.send(call)
        return call

    async def until(self, condition):
        """Wait until ``condition`` holds; a test that hangs is ended from outside."""
        while not condition():
            await asyncio.sleep(0.001)


class Hurried:
    """A loop whose clock shows the moments of a test."""

    def __init__(self, loop, moments):
        self.create_connection = loop.create_connection
        self.time = moments.__next__


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr(rest, "CONNECT_S", LONG_S)


def run(scenario):
    asyncio.run(scenario())


def test_a_request_is_a_plain_post():
    assert prepared({"host": "::1", "rest": 8501}, "/v1/models/m:predict", b"{}") == (
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: [::1]:8501\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


def test_a_connection_is_used_again():
    async def scenario():
        async with Bench() as bench:
            await bench.client.open()
            for number in (1, 2, 3):
                bench.send(number)
                await bench.until(lambda number=number: len(bench.served) and hasattr(bench.served[0], "data"))
                bench.served[0].transport.write(REPLY)
                await bench.until(lambda number=number: len(bench.ended) == number)
            assert bench.ended == [(1, None, b"ok"), (2, None, b"ok"), (3, None, b"ok")]
            assert len(bench.served) == 1

    run(scenario)


def test_where_all_are_busy_another_connection_is_opened_up_to_the_bound():
    async def scenario():
        async with Bench(least=1, most=3) as bench:
            await bench.client.open()
            for number in range(1, 6):
                bench.send(number)
            await bench.until(lambda: len(bench.served) == 3 and all(hasattr(each, "data") for each in bench.served))
            assert bench.ended == [(4, "connection", b""), (5, "connection", b"")]
            for each in bench.served:
                each.transport.write(REPLY)
            await bench.until(lambda: len(bench.ended) == 5)
            assert sorted(bench.ended[2:]) == [(1, None, b"ok"), (2, None, b"ok"), (3, None, b"ok")]

    run(scenario)


def test_a_request_that_is_given_up_takes_its_connection_along():
    async def scenario():
        async with Bench() as bench:
            await bench.client.open()
            call = bench.send(1)
            await bench.until(lambda: hasattr(bench.served[0], "data"))
            bench.client.cancel(call)
            # Another connection takes its place, on which a late reply to the first cannot arrive.
            await bench.until(lambda: len(bench.served) == 2 and len(bench.client.idle) == 1)
            assert bench.ended == []

    run(scenario)


def test_a_connection_that_the_server_closes_when_idle_is_replaced_and_no_error():
    async def scenario():
        async with Bench(least=2) as bench:
            await bench.client.open()
            bench.served[0].transport.close()
            await bench.until(lambda: len(bench.served) == 3 and len(bench.client.idle) == 2)
            assert bench.ended == []

    run(scenario)


def test_bytes_that_nobody_asked_for_end_their_connection():
    async def scenario():
        async with Bench() as bench:
            await bench.client.open()
            bench.served[0].transport.write(REPLY)
            await bench.until(lambda: len(bench.served) == 2)
            assert bench.ended == []

    run(scenario)


def test_after_a_refusal_attempts_wait():
    async def scenario():
        async with Bench() as bench:
            await bench.client.open()
            bench.server.close()
            bench.served[0].transport.abort()
            await bench.until(lambda: bench.client._refused_until)
            attempts = []
            bench.client._connect = lambda: attempts.append(1)
            bench.client._refused_until = float("inf")
            bench.send(1)
            bench.send(2)
            assert bench.ended == [(1, "connection", b""), (2, "connection", b"")]
            assert attempts == []

    run(scenario)


def test_nobody_there_is_one_sentence(monkeypatch):
    async def scenario():
        async with Bench() as bench:
            bench.server.close()
            # Tries again, and then its time is over.
            moments = iter([0.0, 1.0, 2 * LONG_S])
            monkeypatch.setattr(bench.client, "_loop", Hurried(bench.client._loop, moments))
            with pytest.raises(target.UnreachableError) as found:
                await bench.client.open()
            assert str(found.value) == f"127.0.0.1 port {bench.port} (rest) cannot be reached: connection refused"

    run(scenario)


def test_a_name_that_does_not_exist_is_one_sentence():
    async def scenario():
        where = {"host": "no-such-host.invalid", "rest": 1, "tls": None}
        with pytest.raises(target.UnreachableError) as found:
            await Rest(where, [b""], 1, 1).open()
        assert str(found.value) == ("no-such-host.invalid port 1 (rest) cannot be reached: its name cannot be resolved")

    run(scenario)


def certified(folder):
    """Return the PEM of a certificate for ranker.example, and a server's context with it."""
    pem, key = self_signed("ranker.example")
    (folder / "pair.pem").write_bytes(key + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    return pem.decode(), context


def test_tls_checks_the_name_that_is_given(tmp_path):
    pem, context = certified(tmp_path)

    async def scenario():
        tls = {"ca": pem, "name": "ranker.example", "certificate": None, "key_file": None}
        async with Bench(tls=tls, server_tls=context) as bench:
            await bench.client.open()
            bench.send(1)
            await bench.until(lambda: hasattr(bench.served[0], "data"))
            bench.served[0].transport.write(REPLY)
            await bench.until(lambda: bench.ended)
            assert bench.ended == [(1, None, b"ok")]

    run(scenario)


def test_a_certificate_for_another_name_is_one_sentence(tmp_path):
    pem, context = certified(tmp_path)

    async def scenario():
        tls = {"ca": pem, "name": "other.example", "certificate": None, "key_file": None}
        async with Bench(tls=tls, server_tls=context) as bench:
            with pytest.raises(target.UnreachableError, match="cannot be reached: the certificate was refused, "):
                await bench.client.open()

    run(scenario)
