# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is fetched over HTTP, and how everything that goes wrong on the way is told."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import itertools
import re
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import client as serving_client
from ansible_collections.tfserving.fleet.plugins.module_utils.web import download, fetching
from http_double import Server
from patience import LONG_S
from ports import free_port
from serving_double import Clock, HostileServer

BODY = b"an archive, as far as a download cares\n" * 1000


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    return free_port()


def fetch(url: str, target: object, timeout: float = 5, **options: object) -> str:
    return download.download(url, str(target), headers=options.pop("headers", {}), timeout=timeout, **options)


def refusal_of(url: str, target: object, **options: object) -> str:
    with pytest.raises(RefusalError) as refusal:
        fetch(url, target, **options)
    return str(refusal.value)


def test_a_download_is_stored_and_summed(server, tmp_path):
    server.answers["/7.tar"] = (200, {}, BODY)
    announced = []
    digest = fetch(f"{server.url}/7.tar", tmp_path / "a", announce=announced.append)
    assert (tmp_path / "a").read_bytes() == BODY
    assert digest == hashlib.sha256(BODY).hexdigest()
    assert announced == [len(BODY)]


def test_nothing_is_written_when_the_declared_length_is_too_much(server, tmp_path):
    server.answers["/7.tar"] = (200, {}, BODY)

    def announce(size: int) -> None:
        raise RefusalError("too much", "free space")

    assert refusal_of(f"{server.url}/7.tar", tmp_path / "a", announce=announce) == "too much; free space"
    assert not (tmp_path / "a").exists()


def test_the_bytes_are_those_of_the_archive_even_if_it_is_declared_as_an_encoding(server, tmp_path):
    packed = gzip.compress(BODY)
    server.answers["/7.tar.gz"] = (200, {"Content-Encoding": "gzip"}, packed)
    fetch(f"{server.url}/7.tar.gz", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == packed


def test_credentials_go_to_the_server_asked_and_to_no_other(server, tmp_path):
    server.answers["/7.tar"] = (302, {"Location": f"{server.url}/elsewhere"}, b"")
    server.answers["/elsewhere"] = (200, {}, BODY)
    fetch(f"{server.url}/7.tar", tmp_path / "a", headers={"Authorization": "Bearer secret"})
    assert [(path, headers.get("Authorization")) for path, headers in server.requests] == [
        ("/7.tar", "Bearer secret"),
        ("/elsewhere", None),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "cure"),
    [
        (403, "Forbidden", "check the credentials in its headers"),
        (404, "Not Found", "check the address"),
        (503, "Service Unavailable", "run again, or check that server"),
    ],
)
def test_a_server_that_refuses_is_told_with_a_remedy(server, tmp_path, status, reason, cure):
    server.answers["/7.tar"] = (status, {}, b"")
    url = f"{server.url}/7.tar"
    assert refusal_of(url, tmp_path / "a") == f"{url} answers {status} {reason}; {cure}"


def test_a_server_that_is_not_there_is_told(closed_port, tmp_path):
    url = f"http://127.0.0.1:{closed_port}/7.tar"
    message = f"{url} cannot be fetched ([Errno 111] Connection refused); check the address from this host"
    assert refusal_of(url, tmp_path / "a") == message


def test_secrets_of_an_address_are_not_shown(server, tmp_path):
    url = f"http://user:hush@127.0.0.1:{server.port}/7.tar?X-Amz-Signature=hush#hush"
    assert refusal_of(url, tmp_path / "a") == f"{server.url}/7.tar answers 404 Not Found; check the address"


def test_a_download_that_breaks_off_is_refused(server, tmp_path):
    server.answers["/7.tar"] = (200, {"Content-Length": str(len(BODY) + 5)}, BODY)
    url = f"{server.url}/7.tar"
    message = f"{url} broke off after {len(BODY)} of {len(BODY) + 5} bytes; run again, or check that server"
    assert refusal_of(url, tmp_path / "a") == message


def test_a_server_that_falls_silent_is_given_up(server, tmp_path):
    over = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"begun")
        handler.wfile.flush()
        over.wait(LONG_S)

    server.answers["/7.tar"] = silent
    try:
        message = refusal_of(f"{server.url}/7.tar", tmp_path / "a", timeout=0.2)
    finally:
        over.set()
    assert message == f"{server.url}/7.tar cannot be fetched (timed out); check the address from this host"


def test_nonsense_in_place_of_http_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _peer = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/7.tar"
        assert refusal_of(url, tmp_path / "a").startswith(f"{url} cannot be fetched (SSH-2.0-OpenSSH_9.2")


# --- redirects, pace and secrets -------------------------------------------------------------------------------


def redirecting(monkeypatch: pytest.MonkeyPatch, locations: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Answer each address with a redirect; return who was asked with which headers."""
    asked = []

    def answer(url: str, headers: dict[str, str], **_options: object) -> None:
        asked.append((url, sorted(headers)))
        message = http.client.HTTPMessage()
        message["Location"] = locations[url]
        raise HTTPError(url, 302, "Found", message, io.BytesIO())

    monkeypatch.setattr(fetching, "open_url", answer)
    return asked


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("http://mirror/7.tar?sig=hush", "an address without TLS"),
        ("HTTP://mirror/7.tar", "an address without TLS"),
        ("file:///etc/shadow", "something else than http and https"),
        ("ftp://mirror/7.tar", "something else than http and https"),
        ("data:,hush", "something else than http and https"),
        ("https://[::1/hush", "something else than http and https"),
    ],
)
def test_no_redirect_leads_out_of_tls_or_off_the_web(tmp_path, monkeypatch, location, kind):
    asked = redirecting(monkeypatch, {"https://store/7.tar": location})
    assert refusal_of("https://store/7.tar", tmp_path / "a") == (
        f"https://store/7.tar redirects to {kind}; give the final address itself if you trust it"
    )
    assert len(asked) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_to_another_server_are_followed_without_credentials(server, tmp_path, code):
    with Server() as other:
        other.answers["/7.tar"] = (200, {}, BODY)
        server.answers["/7.tar"] = (code, {"Location": f"{other.url}/7.tar"}, b"")
        fetch(f"{server.url}/7.tar", tmp_path / "a", headers={"Authorization": "Bearer hush", "X-Token": "hush"})
        assert (tmp_path / "a").read_bytes() == BODY
        assert "hush" not in str(other.requests)
        assert "hush" in str(server.requests)


def test_a_redirect_may_be_relative(server, tmp_path):
    server.answers["/a/7.tar"] = (302, {"Location": "../b/7.tar"}, b"")
    server.answers["/b/7.tar"] = (200, {}, BODY)
    fetch(f"{server.url}/a/7.tar", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_server_that_redirects_without_end_is_given_up(server, tmp_path):
    server.answers["/7.tar"] = (302, {"Location": "/7.tar"}, b"")
    url = f"{server.url}/7.tar"
    assert refusal_of(url, tmp_path / "a") == f"{url} redirects more than 5 times; check the address"
    assert len(server.requests) == 6


def test_a_redirect_without_an_address_is_an_answer_like_any_other(server, tmp_path):
    server.answers["/7.tar"] = (302, {}, b"")
    assert " answers 302 " in refusal_of(f"{server.url}/7.tar", tmp_path / "a")


@pytest.mark.parametrize("url", ["file:///etc/shadow", "ftp://127.0.0.1/7.tar", "/etc/shadow", "http:///x"])
def test_only_the_web_is_asked(tmp_path, url):
    assert refusal_of(url, tmp_path / "a") == f"{url} is not a web address; begin it with https:// or http://"


@pytest.fixture
def hurried(monkeypatch):
    """Less patience, and the time that a server has until it is lost."""
    monkeypatch.setattr(fetching, "GRACE_S", 0.5)
    monkeypatch.setattr(fetching, "TICK_S", 0.05)


@pytest.mark.parametrize(
    "first",
    [
        [],
        [b"HTTP/1.1 200 OK\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n\r\n"],
    ],
    ids=["status", "headers", "declared", "chunked", "undeclared"],
)
def test_a_server_that_is_never_silent_and_never_done_is_given_up(tmp_path, hurried, first):
    with HostileServer(itertools.chain(first, itertools.repeat(b"1")), pause_s=0.02) as dribbling:
        url = f"http://127.0.0.1:{dribbling.port}/7.tar"
        message = refusal_of(url, tmp_path / "a", timeout=600)
    assert re.fullmatch(rf"{url} has sent \d+ KiB in \d+ s, which is too slow; check that server, or .*", message)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_transfer_that_keeps_pace_may_take_as_long_as_it_takes(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(fetching, "time", SimpleNamespace(monotonic=clock.now))

    def received(each_minute, minutes):
        chunks = iter([bytes(each_minute)] * minutes)
        answer = fetching.Answer("http://store/7.tar")
        answer.begin(SimpleNamespace(headers={}, status=200, read1=lambda _size: clock.sleep(60) or next(chunks, b"")))
        return sum(map(len, answer))

    least = fetching.LEAST_BYTES_S * 60
    assert received(least, 300) == 300 * least
    with pytest.raises(RefusalError, match=r"^http://store/7.tar has sent 7679 KiB in 120 s, which is too slow; "):
        received(least - 1, 300)


def test_of_a_body_in_chunks_the_declared_length_means_nothing(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    with HostileServer([head + b"5\r\nwhole\r\n0\r\n\r\n"]) as contradicting:
        fetch(f"http://127.0.0.1:{contradicting.port}/7.tar", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_an_archive_of_undeclared_length_fills_no_more_than_there_is(tmp_path):
    left = iter([10**9, 10**9, 0])
    chunks = itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b"x" * 65536))
    with HostileServer(chunks) as endless:
        url = f"http://127.0.0.1:{endless.port}/7.tar"
        message = refusal_of(url, tmp_path / "a", room=lambda: next(left))
    assert message == f"{url} has sent 1 MiB, and no more fits here; free space there, or check the address"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"Authorization": "Bearer hush\n"}),
        ("", {"X-Hush\r\nEvil": "1"}),
        ("", {"Authorization": "Bearer hüsh\u2713hush"}),
        ("?sig=hush\x01", {}),
        ("?sig=hush hush", {}),
    ],
)
def test_what_cannot_be_sent_is_refused_without_repeating_it(server, tmp_path, query, headers):
    message = refusal_of(f"{server.url}/7.tar{query}", tmp_path / "a", headers=headers)
    assert message.startswith(f"{server.url}/7.tar cannot be fetched (")
    assert "hush" not in message.lower()


def test_an_address_that_cannot_be_taken_apart_is_not_repeated(tmp_path):
    message = refusal_of("https://user:hush@[::1/7.tar?hush", tmp_path / "a")
    assert "hush" not in message
    assert message.endswith(" is not a web address; begin it with https:// or http://")


# --- live servers --------------------------------------------------------------------------------------------


def test_a_version_is_live_until_the_server_has_ended_it(server):
    server.serves("ranker", v5="END", v6="UNLOADING", v7="AVAILABLE", v8="LOADING")
    assert serving_client.live_versions(server.port, "ranker") == {6, 7, 8}


def test_a_server_that_knows_no_such_model_holds_no_version(server):
    body = b'{"error": "Could not find any versions of model unheard"}'
    server.answers["/v1/models/unheard"] = (404, {}, body)
    assert serving_client.live_versions(server.port, "unheard") == set()


def test_a_proxy_is_not_asked_about_this_host(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.serves("ranker", v7="AVAILABLE")
    assert serving_client.live_versions(server.port, "ranker") == {7}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"model_version_status": [{}]}', b'{"error": "x"}'])
def test_a_server_that_answers_something_else_cannot_be_asked(server, body):
    server.answers["/v1/models/ranker"] = (200, {}, body)
    assert serving_client.live_versions(server.port, "ranker") is None


def test_a_server_that_is_not_there_or_failing_cannot_be_asked(server, closed_port):
    server.answers["/v1/models/ranker"] = (500, {}, b"")
    assert serving_client.live_versions(server.port, "ranker") is None
    assert serving_client.live_versions(server.port, "another server s 404") is None
    assert serving_client.live_versions(closed_port, "ranker") is None
    assert serving_client.live_versions(None, "ranker") is None
