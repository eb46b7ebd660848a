# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gateway whose cache is nginx with Redis: programs of Debian 12 and 13 in front of hosts on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import time

import cache_hosts
import haproxies
import nginxes
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import store_limit
from certificates import self_signed
from ports import free_port

PREDICT = "/v1/models/ranker:predict"
WISH = {"ttl_s": 600, "shadow": False, "max_body_kb": 8192}
PATIENCE_S = 30
PAIRS = [(haproxies.BOOKWORM, nginxes.BOOKWORM), (haproxies.TRIXIE, nginxes.TRIXIE)]
PASSWORD = "correct-horse-battery"
ENGINE = {"gateway_cache_engine": "nginx"}


@pytest.fixture(scope="module", params=PAIRS, ids=["bookworm", "trixie"])
def site(request, tmp_path_factory):
    """Two hosts with versions 6 and 7, of which 6 is stable, and a gateway with a Redis of its own."""
    keys = {"versions": [6, 7], "labels": {"stable": 6}, **ENGINE}
    place = tmp_path_factory.mktemp("nginx")
    with cache_hosts.running(place, 2, WISH, *request.param, **keys) as running:
        yield running


@pytest.fixture
def call(site):
    return lambda *words, **headers: called(site, *words, **headers)


def called(site, body, path=PREDICT, **headers):
    """Return the status, the answer and its source."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_S)) as line:
        line.request("POST", path, body, headers)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("x-cache")


def page(site, path):
    """Return what nginx says on a page of its own socket."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE_S)
        line.connect(str(site.place / "store.sock"))
        line.sendall(f"GET {path} HTTP/1.0\r\nHost: check\r\n\r\n".encode())
        return b"".join(iter(lambda: line.recv(65536), b"")).decode().partition("\r\n\r\n")[2]


def counted(site, name):
    return int(dict(line.split() for line in page(site, "/counters").splitlines())[name])


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("size", [0, 1, 7_000, 9_000, 17_000, 1_000_000, 5_000_000])
def test_bodies_that_differ_in_one_byte_never_share_an_answer(call, size):
    for body in [b"x" * size, b"x" * (size - 1) + b"y"][: 2 if size else 1]:
        first = call(body)
        assert first[:2] == (200, {**first[1], "digest": hashlib.sha256(body).hexdigest(), "version": 7})
        assert first[2] == "miss"
        # It is kept a moment after it was sent.
        until(lambda body=body: call(body)[2] == "hit")
        assert call(body)[:2] == first[:2]


def test_large_bodies_come_from_the_file_that_they_wait_in(site, call):
    before = counted(site, "spilled")
    call(b"z" * 40_000)
    assert counted(site, "spilled") == before + 1


def test_equal_calls_at_once_are_one_call_of_a_server(site):
    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nsame".encode())
        found = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return found.split(b" ")[1]

    async def many():
        tasks = [asyncio.create_task(one()) for _ in range(100)]
        await asyncio.to_thread(until, lambda: counted(site, "coalesced") == before + 99)
        for host in site.hosts.values():
            host.held = False
        return await asyncio.gather(*tasks)

    calls, before = len(site.calls), counted(site, "coalesced")
    for host in site.hosts.values():
        host.held = True
    assert set(asyncio.run(many())) == {b"200"}
    assert len(site.calls) - calls == 1


def test_a_call_by_version_or_label_shares_the_answers_of_that_version(call):
    assert call(b"by label", "/v1/models/ranker/labels/stable:predict")[1]["version"] == 6
    until(lambda: call(b"by label", "/v1/models/ranker/versions/6:predict")[2] == "hit")
    assert call(b"by label")[1]["version"] == 7


def test_only_successes_are_kept(site, call):
    before = len(site.calls)
    assert [call(b"refuse this")[0] for _ in range(3)] == [400, 400, 400]
    assert len(site.calls) - before == 3


def test_answers_that_are_too_large_are_not_kept(site, call):
    for host in site.hosts.values():
        host.size = 300_000
    try:
        assert [call(b"large answer")[2] for _ in range(2)] == ["miss", "miss"]
    finally:
        for host in site.hosts.values():
            host.size = 0


@pytest.mark.parametrize("name", ["Accept-Encoding", "Content-Type", "Content-Encoding", "Origin"])
def test_headers_that_servers_read_tell_calls_apart(call, name):
    body = f"with {name}".encode()
    assert call(body, **{name: "one"})[2] == "miss"
    until(lambda: call(body, **{name: "one"})[2] == "hit")
    assert call(body, **{name: "two"})[2] == "miss"


def test_a_redis_that_hangs_is_passed(site, call):
    redis = site.processes["redis"].pid
    os.kill(redis, signal.SIGSTOP)
    try:
        before = counted(site, "bypass"), counted(site, "store_error")
        assert [call(b"hung %d" % number)[::2] for number in range(10)] == [(200, None)] * 10
        assert counted(site, "bypass") == before[0] + 10
        assert counted(site, "store_error") > before[1]
    finally:
        os.kill(redis, signal.SIGCONT)
    until(lambda: call(b"back")[2] == "hit")


def test_a_redis_that_is_killed_is_passed(site, call):
    site.processes["redis"].kill()
    site.processes["redis"].wait()
    assert [call(b"dead %d" % number)[::2] for number in range(10)] == [(200, None)] * 10
    site.processes["redis"] = nginxes.start_redis(site.cache_version, site.place)
    until(lambda: call(b"back again")[2] == "hit")


def test_an_nginx_that_hangs_is_passed(site, call):
    for pid in site.pids():
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: site.states()["answers/store"] == "DOWN")
        assert [call(b"hung %d" % number)[::2] for number in range(3)] == [(200, None)] * 3
    finally:
        for pid in site.pids():
            os.kill(pid, signal.SIGCONT)
    site.settled()


def test_the_store_tells_its_limit(site):
    said = dict(line.split() for line in page(site, "/store").splitlines())
    assert (int(said["maxmemory"]), said["maxmemory_policy"]) == (256 << 20, "allkeys-lru")


def test_what_a_stranger_has_written_is_no_answer(site, call):
    call(b"first")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(site.place / "redis.sock"))
        line.settimeout(PATIENCE_S)
        until(lambda: call(b"first")[2] == "hit")
        line.sendall(b"KEYS tfserving:1:*\r\n")
        keys = [word for word in line.recv(1 << 20).split() if word.startswith(b"tfserving")]
        for key in keys:
            line.sendall(b"SET %s nonsense\r\n" % key)
            assert line.recv(100) == b"+OK\r\n"
    assert call(b"first")[::2] == (200, "miss")


@pytest.fixture(scope="module", params=PAIRS, ids=["bookworm", "trixie"])
def shared(request, tmp_path_factory):
    """A Redis behind TLS and a password: the versions of programs, its address, and how to give it a command."""
    tmp_path = tmp_path_factory.mktemp("redis")
    certificate, key = self_signed("redis.example.com")
    (tmp_path / "tls.pem").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    port = free_port()
    words = f"--bind 127.0.0.1 --port 0 --tls-port {port} --tls-auth-clients no --tls-cert-file tls.pem"
    words += f" --tls-key-file tls.key --requirepass {PASSWORD} --unixsocket {tmp_path}/redis.sock"
    words += " --save '' --maxmemory 10mb --maxmemory-policy allkeys-lru"
    redis = nginxes.start_redis(request.param[1], tmp_path, *shlex.split(words))
    address = {"address": f"127.0.0.1:{port}", "tls_name": "redis.example.com", "ca": certificate.decode()}

    def command(text):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE_S)
            line.connect(str(tmp_path / "redis.sock"))
            for each in (f"AUTH {PASSWORD}", text):
                line.sendall(f"{each}\r\n".encode())
                said = line.recv(1000)
        return said

    yield request.param, {**address, "password": PASSWORD}, command
    redis.kill()
    redis.wait()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "another-horse"}, "WRONGPASS"),
        # Lua's handshake tells the mismatch only if it had to wait for Redis; either way it has closed the connection.
        ({"tls_name": "other.example.com"}, "certificate host mismatch|closed"),
        ({"address": "127.0.0.1:1"}, "connection refused"),
    ],
)
def test_a_store_that_lets_nobody_in_is_told_and_passed(shared, tmp_path, wrong, said):
    version, store, _ = shared
    keys = {**ENGINE, "gateway_cache_store": {**store, **wrong}}
    with cache_hosts.running(tmp_path, 1, WISH, *version, **keys) as site:
        assert re.search(rf"\(.*({said})", store_limit.refusal(str(site.place / "store.sock")))
        assert called(site, b"passes")[::2] == (200, None)


@pytest.fixture
def gateways(shared, tmp_path):
    """Two gateways that share it."""
    version, store, _ = shared
    places = [tmp_path / name for name in ("one", "two")]
    keys = {**ENGINE, "gateway_cache_store": store}
    with contextlib.ExitStack() as stack:
        for place in places:
            place.mkdir()
        yield [stack.enter_context(cache_hosts.running(place, 2, WISH, *version, **keys)) for place in places]


def test_gateways_share_a_store_over_tls_with_a_password(gateways, shared):
    one, two = gateways
    command = shared[2]
    until(lambda: called(one, b"shared")[2] == "hit")
    until(lambda: called(two, b"shared")[2] == "hit")
    assert two.calls == []
    assert store_limit.refusal(str(one.place / "store.sock")) == ""
    for setting, said in (("maxmemory-policy noeviction", "noeviction"), ("maxmemory 0", "has no maxmemory")):
        assert command(f"CONFIG SET {setting}") == b"+OK\r\n"
        assert said in store_limit.refusal(str(one.place / "store.sock"))
