# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is fetched over HTTP, and how everything that goes wrong on the way is told."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import downloads
from ansible_collections.tfserving.fleet.plugins.module_utils.archives import RefusalError

BODY = b"an archive, as far as a download cares\n" * 1000


class Server:
    """An HTTP server on loopback: `answers` maps a path to (status, headers, body) or to what handles a request."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                answer = outer.answers.get(self.path.partition("?")[0], (404, {}, b""))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def serves(self, model: str, **states: str) -> None:
        """Answer the status call of TensorFlow Serving with versions and states such as v7="AVAILABLE"."""
        versions = [{"version": name[1:], "state": state, "status": {}} for name, state in states.items()]
        body = json.dumps({"model_version_status": versions}).encode()
        self.answers[f"/v1/models/{model}"] = (200, {"Content-Type": "application/json"}, body)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.http.shutdown()
        self.http.server_close()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    return unused_port()


def fetch(url: str, target: object, timeout: float = 5, **options: object) -> str:
    return downloads.download(url, str(target), headers=options.pop("headers", {}), timeout=timeout, **options)


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
        (503, "Service Unavailable", "run again, or look at that server"),
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
    message = f"{url} broke off after {len(BODY)} of {len(BODY) + 5} bytes; run again, or look at that server"
    assert refusal_of(url, tmp_path / "a") == message


def test_a_server_that_falls_silent_is_given_up(server, tmp_path):
    over = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"begun")
        handler.wfile.flush()
        over.wait(10)

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


# --- live servers --------------------------------------------------------------------------------------------


def test_a_version_is_live_until_the_server_has_ended_it(server):
    server.serves("ranker", v5="END", v6="UNLOADING", v7="AVAILABLE", v8="LOADING")
    assert downloads.live_versions(server.port, "ranker") == {6, 7, 8}


def test_a_server_that_knows_no_such_model_holds_no_version(server):
    body = b'{"error": "Could not find any versions of model unheard"}'
    server.answers["/v1/models/unheard"] = (404, {}, body)
    assert downloads.live_versions(server.port, "unheard") == set()


def test_a_proxy_is_not_asked_about_this_host(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.serves("ranker", v7="AVAILABLE")
    assert downloads.live_versions(server.port, "ranker") == {7}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"model_version_status": [{}]}', b'{"error": "x"}'])
def test_a_server_that_answers_something_else_cannot_be_asked(server, body):
    server.answers["/v1/models/ranker"] = (200, {}, body)
    assert downloads.live_versions(server.port, "ranker") is None


def test_a_server_that_is_not_there_or_failing_cannot_be_asked(server, closed_port):
    server.answers["/v1/models/ranker"] = (500, {}, b"")
    assert downloads.live_versions(server.port, "ranker") is None
    assert downloads.live_versions(server.port, "another server s 404") is None
    assert downloads.live_versions(closed_port, "ranker") is None
    assert downloads.live_versions(None, "ranker") is None
