# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gateway with its cache that run: HAProxy and Varnish of Debian 12 and 13 in front of hosts on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import time

import cache_hosts
import haproxies
import pytest
import varnishes

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="Varnish compiles its configuration by gcc")
PREDICT = "/v1/models/ranker:predict"
WISH = {"ttl_s": 600, "shadow": False, "max_body_kb": 8192}
PATIENCE_S = 30


@pytest.fixture(
    scope="module",
    params=[(haproxies.BOOKWORM, varnishes.BOOKWORM), (haproxies.TRIXIE, varnishes.TRIXIE)],
    ids=["bookworm", "trixie"],
)
def site(request, tmp_path_factory):
    """Two hosts with versions 6 and 7, of which 6 is stable."""
    keys = {"versions": [6, 7], "labels": {"stable": 6}, "gateway_tokens": {"alice": "a" * 20}}
    place = tmp_path_factory.mktemp("cache")
    with cache_hosts.running(place, 2, WISH, *request.param, **keys) as running:
        yield running


@pytest.fixture
def call(site):
    def perform(body, path=PREDICT, **headers):
        line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_S)
        with contextlib.closing(line):
            line.request("POST", path, body, {"authorization": f"Bearer {'a' * 20}", **headers})
            answer = line.getresponse()
            return answer.status, json.loads(answer.read()), answer.getheader("x-cache")

    return perform


def request(body):
    """Return a call as it crosses the network."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'a' * 20}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("size", [0, 1, 7_000, 9_000, 16_000, 1_000_000, 5_000_000])
def test_bodies_that_differ_in_one_byte_never_share_an_answer(site, call, size):
    bodies = [b"x" * size, b"x" * (size - 1) + b"y"][: 2 if size else 1]
    for body in bodies:
        first, second = call(body), call(body)
        assert first[:2] == second[:2] == (200, {**first[1], "digest": hashlib.sha256(body).hexdigest(), "version": 7})
        assert (first[2], second[2]) == ("miss", "hit")


def test_equal_calls_at_once_are_one_call_of_a_server(site):
    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        head = (
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'a' * 20}\r\nContent-Length: 4\r\n\r\nsame"
        )
        writer.write(head.encode())
        found = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return found.split(b" ")[1]

    async def many():
        tasks = [asyncio.create_task(one()) for _ in range(100)]
        await asyncio.to_thread(until, lambda: site.current("cache_ranker", "store") == 100)
        for host in site.hosts.values():
            host.held = False
        return await asyncio.gather(*tasks)

    calls = len(site.calls)
    for host in site.hosts.values():
        host.held = True
    assert set(asyncio.run(many())) == {b"200"}
    assert len(site.calls) - calls == 1


def test_a_call_by_version_or_label_shares_the_answers_of_that_version(call):
    assert call(b"by label", "/v1/models/ranker/labels/stable:predict")[1]["version"] == 6
    assert call(b"by label", "/v1/models/ranker/versions/6:predict")[2] == "hit"
    assert call(b"by label")[1:] != call(b"by label", "/v1/models/ranker/versions/6:predict")[1:]


def test_only_successes_are_kept(site, call):
    before = len(site.calls)
    assert [call(b"refuse this")[0] for _ in range(3)] == [400, 400, 400]
    assert len(site.calls) - before == 3


def test_a_caller_may_ask_for_a_new_answer(call):
    assert [call(b"anew")[2], call(b"anew")[2], call(b"anew", **{"Cache-Control": "no-cache"})[2]] == [
        "miss",
        "hit",
        None,
    ]


@pytest.mark.parametrize("name", ["Accept-Encoding", "Content-Type", "Content-Encoding", "Origin"])
def test_headers_that_servers_read_tell_calls_apart(call, name):
    body = f"with {name}".encode()
    assert [call(body, **{name: value})[2] for value in ("one", "one", "two")] == ["miss", "hit", "miss"]


@pytest.mark.parametrize("name", ["Range", "If-None-Match"])
def test_an_answer_is_never_cut(call, name):
    whole = call(b"whole")
    assert call(b"whole", **{name: "bytes=0-3"})[:2] == whole[:2]


def test_a_body_of_unknown_length_passes(call):
    assert call(iter([b"in ", b"pieces"]))[::2] == (200, None)


def test_a_hit_needs_a_token_too(call):
    assert call(b"mine")[0] == 200
    assert call(b"mine", authorization=f"Bearer {'b' * 20}")[0] == 401


def test_other_versions_are_never_answered_from_the_old_ones_store(site, call):
    assert [call(b"moves")[1]["version"] for _ in range(2)] == [7, 7]
    (first, second) = site.hosts.values()
    try:
        first.versions = (6, 7, 8)
        until(lambda: site.states()[f"moved_ranker/{first.name}.ranker"] == "UP")
        # One host of two has moved on: each answers for itself.
        assert {call(b"moves")[1]["version"] for _ in range(20)} == {7, 8}
        second.versions = (6, 8)
        until(lambda: site.states()[f"moved_ranker/{second.name}.ranker"] == "UP")
        assert {(call(b"moves")[1]["version"], call(b"moves")[2]) for _ in range(20)} <= {(7, None), (8, None)}
        # What is kept under version 7 is still what version 7 said.
        assert call(b"moves", "/v1/models/ranker/versions/7:predict")[1]["version"] == 7
    finally:
        first.versions = second.versions = (6, 7)
        site.settled()


def test_a_label_that_moves_away_passes(site, call):
    path = "/v1/models/ranker/labels/stable:predict"
    assert call(b"label", path)[1]["version"] == 6
    try:
        for host in site.hosts.values():
            host.labels = {"stable": 7}
        until(lambda: all(site.states()[f"moved_ranker_label_stable/{name}.ranker"] == "UP" for name in site.hosts))
        _, answer, source = call(b"label", path)
        assert (answer["version"], source) == (7, None)
    finally:
        for host in site.hosts.values():
            host.labels = {"stable": 6}
        site.settled()


def test_a_store_that_hangs_is_passed(site, call):
    for pid in site.pids():
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: site.states()["answers/store"] == "DOWN")
        assert [call(b"hung %d" % number)[::2] for number in range(10)] == [(200, None)] * 10
    finally:
        for pid in site.pids():
            os.kill(pid, signal.SIGCONT)
    site.settled()


def test_calls_in_a_store_that_is_killed_are_answered_by_a_server(site):
    for host in site.hosts.values():
        host.held = True
    lines = []
    before = site.counters()["VBE.boot.m1.req"]
    for number in range(5):
        line = socket.create_connection(("127.0.0.1", site.port), PATIENCE_S)
        line.sendall(request(b"killed %d" % number))
        lines.append(line)
    until(lambda: site.counters()["VBE.boot.m1.req"] - before == 5)
    for pid in reversed(site.pids()):
        os.kill(pid, signal.SIGKILL)
    for host in site.hosts.values():
        host.held = False
    assert [line.recv(100).split(b" ")[1] for line in lines] == [b"200"] * 5
    site.restarted()


def test_the_store_forgets_with_its_end(site, call):
    assert call(b"x" * 7000)[2] == "miss"
