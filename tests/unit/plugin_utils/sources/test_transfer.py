# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A file on its way: broken off, changed, too long, too short, another one."""

from __future__ import annotations

import hashlib
import time
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import transfer
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources.found import File
from http_double import Server
from model_servers import answer, etag, send_file
from patience import LONG_S

CONTENT = bytes(range(256)) * 512
SIZE = len(CONTENT)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE_S", 0)
    with Server() as server:
        yield server


def file(server, size=SIZE, mark=""):
    return File("variables/x", size, lambda: (f"{server.url}/x?sig=hush", {"Authorization": "Bearer hush"}), mark)


def fetch(server, tmp_path, **changes):
    digest = transfer.fetch(file(server, **changes), str(tmp_path / "x"), LONG_S)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert digest == hashlib.sha256(CONTENT).hexdigest()


def refused(server, tmp_path, silence_s=LONG_S, **changes):
    with pytest.raises(RefusalError) as refusal:
        transfer.fetch(file(server, **changes), str(tmp_path / "x"), silence_s)
    assert "hush" not in str(refusal.value)
    return f"{refusal.value.key}: {refusal.value}".replace(server.url, "URL")


def breaking(server, every, mark="", times=1000):
    """Answer with at most so many bytes, some times, and in full after that."""
    left = [times]

    def handle(handler):
        left[0] -= 1
        if left[0] < 0:
            send_file(handler, CONTENT, mark)
            return
        asked = handler.headers.get("Range", "")
        begin = int(asked[6:-1]) if asked else 0
        handler.send_response(206 if asked else 200)
        handler.send_header("Content-Length", str(len(CONTENT) - begin))
        if asked:
            handler.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if mark:
            handler.send_header("ETag", mark)
        handler.end_headers()
        handler.wfile.write(CONTENT[begin : begin + every])

    server.answers["/x"] = handle


def ranges(server):
    return [headers.get("Range") for _path, headers in server.requests]


def test_a_file_arrives_with_its_digest(server, tmp_path):
    server.answers["/x"] = (200, {}, CONTENT)
    fetch(server, tmp_path)
    assert ranges(server) == [None]


def test_a_file_is_empty_only_if_the_server_sends_nothing(server, tmp_path):
    server.answers["/x"] = (200, {}, b"")
    assert transfer.fetch(file(server, 0), str(tmp_path / "x"), LONG_S) == hashlib.sha256(b"").hexdigest()
    (tmp_path / "x").unlink()
    server.answers["/x"] = (200, {}, b"words that a registry lists without a size")
    assert "URL/x sends more than the 0 bytes that are listed; run again" in refused(server, tmp_path, size=0)


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    breaking(server, 100_000, mark='"a"')
    fetch(server, tmp_path)
    assert ranges(server) == [None, "bytes=100000-"]
    assert server.requests[1][1]["If-Range"] == '"a"'
    assert server.requests[1][1]["Authorization"] == "Bearer hush"


def test_a_server_that_knows_no_ranges_sends_the_whole_again(server, tmp_path):
    seen = []

    def handle(handler):
        seen.append(handler)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000] if len(seen) == 1 else CONTENT)

    server.answers["/x"] = handle
    fetch(server, tmp_path)


def test_a_weak_mark_is_not_relied_upon(server, tmp_path):
    breaking(server, 100_000, mark='W/"a"')
    fetch(server, tmp_path)
    assert "If-Range" not in server.requests[1][1]


@pytest.mark.parametrize(("every", "tries"), [(0, 3), (1, 50)])
def test_a_server_that_always_breaks_off_is_given_up(server, tmp_path, every, tries):
    breaking(server, every)
    sentence = refused(server, tmp_path)
    assert sentence.startswith("source.uri: URL/x broke off after ")
    assert sentence.endswith("; run again, or check that server")
    assert len(server.requests) == tries


def test_a_transfer_that_breaks_off_does_not_begin_again_after_the_end_of_all(server, tmp_path, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(transfer, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _s: None))
    breaking(server, 1)
    with pytest.raises(RefusalError, match="its files come too slowly"):
        transfer.fetch(file(server), str(tmp_path / "x"), LONG_S, end=2)
    assert len(server.requests) == 3


def test_the_time_for_files_grows_with_their_number_and_bytes(server):
    one, large = file(server, 0), file(server, 64 * 1024 * 100)
    assert [transfer.time_for(files) for files in ([one], [one] * 1000, [large])] == [305, 5300, 405]


def test_a_server_that_keeps_silent_is_given_up(server, tmp_path):
    server.answers["/x"] = lambda handler: handler.rfile.read(1)
    sentence = refused(server, tmp_path, silence_s=0.2)
    assert sentence.startswith("source.uri: URL/x cannot be fetched (")
    # It takes a question when it comes to that, which may be after the one who asked has gone.
    while len(server.requests) < transfer.MOST_FRUITLESS:
        time.sleep(0.01)
    assert len(server.requests) == transfer.MOST_FRUITLESS


def test_a_file_that_changes_after_it_was_listed_is_refused(server, tmp_path):
    server.answers["/x"] = lambda handler: send_file(handler, CONTENT, etag(CONTENT))
    fetch(server, tmp_path, mark=etag(CONTENT))
    (tmp_path / "x").unlink()
    assert refused(server, tmp_path, mark=etag(b"listed")) == (
        "source.uri: variables/x has changed since it was listed; run again when nobody writes there"
    )


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ((200, {}, CONTENT + b"x"), f"sends more than the {len(CONTENT)} bytes that are listed"),
        ((200, {}, CONTENT[:-1]), f"sends {len(CONTENT) - 1} bytes and lists {len(CONTENT)}"),
        ((204, {}, b""), "answers 204 instead of a file; check that server, or a proxy before it"),
        ((206, {}, CONTENT), "answers 206 instead of a file; check that server, or a proxy before it"),
        ((401, {}, b""), "source.credentials: URL/x answers 401 Unauthorized; check source.credentials"),
        ((404, {}, b""), "source.uri: URL/x answers 404 Not Found; check the address"),
        ((302, {"Location": "http://other.example.com/"}, b""), "URL/x redirects to another address; give the final"),
    ],
    ids=str,
)
def test_another_answer_than_the_listed_file_is_refused(server, tmp_path, says, sentence):
    server.answers["/x"] = says
    assert sentence in refused(server, tmp_path)


def test_another_part_than_the_missing_one_is_refused(server, tmp_path):
    def handle(handler):
        if "Range" in handler.headers:
            answer(handler, 206, CONTENT[:-1000], Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:1000])

    server.answers["/x"] = handle
    assert "URL/x sends another part than the one asked for; check that server" in refused(server, tmp_path)
