# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server's own counts: read from its page, and set against the client's."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import counters
from ports import free_port

# As TensorFlow Serving writes it: names begin with a colon, label values escape quotes and backslashes.
PAGE = r"""# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="ranker",status="OK"} 4980
:tensorflow:serving:request_count{model_name="ranker",status="UNAVAILABLE"} 20
:tensorflow:serving:request_count{model_name="digits",status="OK"} 7
:tensorflow:serving:request_count{model_name="a\"b\\c",status="OK"} 3
:tensorflow:serving:request_count{model_name="unknown",status="NOT_FOUND"} 99
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_count{model_name="ranker",API="Predict",entrypoint="GRPC"} 4980
# TYPE :tensorflow:core:graph_runs counter
:tensorflow:core:graph_runs{} 5100
"""


@contextmanager
def serving(raw: bytes):
    """Serve one connection with ``raw`` as the whole answer; yield the target of a stage."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        asked: list[bytes] = []

        def answer() -> None:
            with closing(listener.accept()[0]) as wire:
                asked.append(wire.recv(65536))
                try:
                    wire.sendall(raw)
                except OSError:
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        yield {"host": "127.0.0.1", "rest": listener.getsockname()[1], "metrics": "/monitoring/prometheus/metrics"}
        thread.join()
        assert asked[0].startswith(b"GET /monitoring/prometheus/metrics HTTP/1.1\r\n")


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def of_page(page: str, *models: str) -> dict[str, int]:
    return counters.of_lines(iter(page.split("\n")), models)


@pytest.mark.parametrize(
    ("models", "counts"),
    [
        (("ranker",), {"OK": 4980, "UNAVAILABLE": 20}),
        (("ranker", "digits"), {"OK": 4987, "UNAVAILABLE": 20}),
        (('a"b\\c',), {"OK": 3}),
        (("other",), {}),
    ],
)
def test_the_counts_of_the_models_are_added_by_status(models, counts):
    with serving(http(PAGE.encode())) as target:
        assert counters.read(target, models) == counts


def test_a_page_in_chunks_is_read_whole():
    chunks = [PAGE[at : at + 7].encode() for at in range(0, len(PAGE), 7)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    with serving(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body) as target:
        assert counters.read(target, ["ranker"]) == {"OK": 4980, "UNAVAILABLE": 20}


@pytest.mark.parametrize(
    ("longest_s", "pages", "counts"),
    [
        (0, [5], 5),  # nothing is to be waited for
        (9, [5, 5], 5),
        (9, [5, 8, 13, 13], 13),
        (2, [5, 6, 7], 7),  # other callers go on
    ],
)
def test_counters_are_read_until_they_no_longer_grow(monkeypatch, longest_s, pages, counts):
    now, left = [0.0], [{"OK": each} for each in pages]
    monkeypatch.setattr(counters.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(counters.time, "sleep", lambda _s: now.__setitem__(0, now[0] + 1))
    monkeypatch.setattr(counters, "read", lambda _target, _models: left.pop(0))
    assert counters.settled({}, ["ranker"], longest_s) == {"OK": counts}
    assert not left


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (http(b"no", "404 Not Found"), "answers with status 404"),
        (b"", "cannot be read"),
        (b"\x00\x01\x02 nothing\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n# TYPE", "cannot be read"),
        (http(b"a" * (counters.MOST_LINE_BYTES * 2)), "a line of it too long"),
    ],
)
def test_a_page_that_cannot_be_read_is_one_sentence(raw, words):
    with serving(raw) as target, pytest.raises(counters.CountersError, match=words):
        counters.read(target, ["ranker"])


def test_a_page_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(counters, "MOST_BYTES", 1000)
    with serving(http(b"# line\n" * 1000)) as target, pytest.raises(counters.CountersError, match="longer than"):
        counters.read(target, ["ranker"])


def test_a_page_that_takes_too_long_is_given_up(monkeypatch):
    moments = iter([0.0, 1.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(counters.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(counters, "CHUNK_BYTES", 10)
    with serving(http(PAGE.encode())) as target, pytest.raises(counters.CountersError, match="it does not end"):
        counters.read(target, ["ranker"])


def test_a_server_that_is_gone_or_has_no_page_is_one_sentence():
    port = free_port()
    target = {"host": "127.0.0.1", "rest": port, "metrics": "/m"}
    with pytest.raises(counters.CountersError, match=f"the page of metrics at port {port} cannot be read"):
        counters.read(target, ["ranker"])
    with pytest.raises(counters.CountersError, match="the server has no page of metrics"):
        counters.read({**target, "metrics": None}, ["ranker"])


def test_a_series_made_up_by_a_caller_is_found():
    # A caller asks for a model whose name holds a line break, which the server writes as it is.
    forged = ':tensorflow:serving:request_count{model_name="x\n'
    forged += ':tensorflow:serving:request_count{model_name="ranker",status="OK"} 1\n",status="NOT_FOUND"} 1\n'
    with pytest.raises(counters.CountersError, match="a series of request_count twice"):
        of_page(PAGE + forged, "ranker")


@pytest.mark.parametrize("line", ['{model_name="ranker",status="OK"} 1e9', "{} 5", '{model_name="ranker" 5', ""])
def test_other_lines_are_passed_over(line):
    assert of_page(f"{counters.NAME}{line}", "ranker") == {}


def test_a_flood_of_statuses_is_refused():
    lines = (f'{counters.NAME}{{model_name="ranker",status="S{n}"}} 1' for n in range(1000))
    with pytest.raises(counters.CountersError, match="too many"):
        counters.of_lines(lines, ["ranker"])


# --- beside the client ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "ok", "after", "sentences"),
    [
        (5000, 5000, {"OK": 5010}, []),
        (5000, 4980, {"OK": 4990, "UNAVAILABLE": 20}, []),
        (
            5000,
            5000,
            {"OK": 4990, "UNAVAILABLE": 20},
            ["the server counted 4,980 OK (and 20 UNAVAILABLE), the client 5,000"],
        ),
        (
            5000,
            5000,
            {"OK": 5010, "NOT_FOUND": 3},
            ["the server counted 5,003 requests, the client sent 5,000: 3 came from other callers"],
        ),
        (
            5000,
            5000,
            {"OK": 5110},
            ["the server counted 5,100 requests, the client sent 5,000: 100 came from other callers"],
        ),
        (
            5000,
            4990,
            {"OK": 5000},
            ["the server counted 4,990 requests, the client sent 5,000: 10 never counted"],
        ),
        (
            5000,
            4990,
            {"OK": 5010},
            [
                "the server counted 5,000 OK, the client 4,990: "
                "the rest were answered too late, wrongly, or to other callers"
            ],
        ),
        (
            5000,
            5000,
            {"OK": 4990},
            [
                "the server counted 4,980 requests, the client sent 5,000: 20 never counted",
                "the server counted 4,980 OK, the client 5,000",
            ],
        ),
        (
            10,
            10,
            {"OK": 3},
            [
                "the server's counters went back during the run, so it was restarted and its counts cannot be compared",
            ],
        ),
    ],
)
def test_the_counts_of_server_and_client_agree_or_the_difference_is_told(sent, ok, after, sentences):
    assert counters.reconcile(sent, ok, {"OK": 10}, after) == sentences


def test_what_the_server_calls_a_status_is_made_printable():
    (sentence,) = counters.reconcile(1, 1, {}, {"\x1b[31m": 1})
    assert sentence == r"the server counted 0 OK (and 1 \x1b[31m), the client 1"


def test_growth_is_told_by_status():
    assert counters.grown({"OK": 5, "NOT_FOUND": 1}, {"OK": 9, "NOT_FOUND": 1, "INTERNAL": 2}) == {
        "OK": 4,
        "INTERNAL": 2,
    }
