# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server may do to whoever asks it: so much time, so much memory, one sentence at the end."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import bounded_http
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import check as serving_check
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.bounded_http import (
    ExchangeError,
    exchange,
    parsed,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import (
    MOST_CHARACTERS,
    Client,
    NoRequestError,
    ServerError,
    UnreachableError,
    difference,
    said,
    served_version,
    zero_request,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_double import HALF_PLUS_TWO, HostileServer

KIB = 1024


def asked(chunks, seconds=10.0, most_bytes=KIB, pause_s=0.0):
    """Exchange with a server that sends these pieces; return what it answered or the words of the refusal."""
    with HostileServer(chunks, pause_s) as server:
        try:
            return exchange(server.port, "GET", "/", {}, seconds, most_bytes)
        except ExchangeError as error:
            return str(error)


def ok(body, *headers):
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", body])


def test_an_answer_comes_with_its_status():
    assert asked([b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"]) == (404, b"{}")
    chunked = ok(b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    assert asked([chunked]) == (200, b"{}")
    assert asked([ok(b"to the end")]) == (200, b"to the end")


def test_a_redirect_is_an_answer_and_nobody_goes_there():
    assert asked([b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"]) == (302, b"")


@pytest.mark.parametrize(
    "head",
    [
        [],
        [b"Content-Length: 3000000000"],
        [b"Content-Length: -1"],
        [b"Content-Length: 9" + b"9" * 5000],
        [b"Transfer-Encoding: chunked"],
    ],
)
def test_an_answer_of_3_gb_takes_neither_memory_nor_its_time(head):
    chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    tracemalloc.start()
    told = asked(itertools.chain([ok(b"", *head)], itertools.repeat(chunk, 12_000)), most_bytes=KIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == "sends more than 1 KiB"
    assert peak < 2 * KIB * KIB


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"X: " + b"y" * 5000 + b"\r\n",
    ],
)
def test_a_flood_in_place_of_an_answer_ends(flood):
    begin = [] if flood.startswith(b"HTTP") else [b"HTTP/1.1 200 OK\r\n"]
    told = asked(itertools.chain(begin, itertools.repeat(flood)))
    assert told in ("sends more than 1 KiB", "does not speak HTTP (HTTPException)")


@pytest.mark.parametrize(
    "first",
    [b"HTTP/1.1 200 OK\r\n", ok(b"", b"Content-Length: 900"), ok(b"", b"Transfer-Encoding: chunked")],
    ids=["headers", "declared", "chunked"],
)
def test_a_server_that_dribbles_has_the_time_of_one_exchange_and_no_more(monkeypatch, first):
    # A tenth of a second passes with each look at the clock, which comes before each read: each byte is in time.
    seconds = itertools.count(0, 0.1)
    monkeypatch.setattr(bounded_http, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    told = asked(itertools.chain([first], itertools.repeat(b"1")), seconds=0.9, pause_s=0.01)
    assert told == "has not answered in full after 0.9 s"


def test_a_server_that_never_says_a_word_is_not_waited_for():
    assert asked([b""], seconds=0.2, pause_s=600) == "does not answer (timed out)"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "does not answer (Remote end closed connection without response)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP (BadStatusLine)"),
        (b"HTTP/1.1 abc\r\n\r\n", "does not speak HTTP (BadStatusLine)"),
        (b"HTTP/1.1 " + b"9" * 5000 + b"\r\n\r\n", "does not speak HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 " + b"x" * 70_000, "does not speak HTTP (LineTooLong)"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "does not speak HTTP (HTTPException)"),
        (ok(b"{}", b"Content-Length: 9"), "breaks off 7 bytes before the end of its answer"),
        (ok(b"zz\r\n", b"Transfer-Encoding: chunked"), "does not speak HTTP (IncompleteRead)"),
        (ok(b"-5\r\nabc", b"Transfer-Encoding: chunked"), "does not speak HTTP (ValueError)"),
        (ok(b"5\r\nabc", b"Transfer-Encoding: chunked"), "does not speak HTTP (IncompleteRead)"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_in_a_few_words(raw, told):
    assert asked([raw]) == told


@settings(max_examples=60)
@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", ok(b"", b"Transfer-Encoding: chunked")]))
def test_no_bytes_on_the_wire_end_in_anything_else(noise, begin):
    told = asked([begin + noise])
    assert isinstance(told, tuple) or told.isprintable()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"<html>", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"a":' * 100_000, b"[" * 400 + b"]" * 400,
        b"9" * 5000, b"[" + b"1," * 1_000_001 + b"1]", b'"\\ud800', b'{"a": 1} x',
    ],
)  # fmt: skip
def test_json_is_refused_where_it_is_none_too_deep_too_much_or_says_a_thing_twice(raw):
    with pytest.raises(ValueError, match=r"."):
        parsed(raw)


def test_the_servers_own_way_of_writing_numbers_is_read():
    assert str(parsed(b'{"outputs": [NaN, Infinity, -Infinity, 1e999]}')) == "{'outputs': [nan, inf, -inf, inf]}"


# --- the client ----------------------------------------------------------------------------------------------


STATUS = {"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK"}}]}
METADATA = {
    "model_spec": {"name": "m", "version": "7"},
    "metadata": {"signature_def": {"signature_def": HALF_PLUS_TWO}},
}
PREDICTION = {"outputs": [[2.0, 3]]}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["-1", "2000000000", "1" * 5000, "\x1b[2J\nhost", "\ud800", "DT_FLOAT"])
    | st.integers(-(10**20), 10**20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """Yield the path to every part of a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def replaced(value, path, other):
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


CONTRACT = {"signature_name": "serving_default", "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 1]}}}
EXPECTED = serving_check.Expectation(
    "m", "/nowhere", (7,), {"stable": 7}, {"expect": [[2.0, 3]]}, contract=CONTRACT, batched=True
)


def outcome(status, metadata, prediction, monkeypatch):
    """Ask for everything that is asked of a server; return all words that come of it."""

    def answers(_port, _method, path, *_rest):
        answer = metadata if path.endswith("/metadata") else prediction if path.endswith(":predict") else status
        return 200, json.dumps(answer).encode()

    monkeypatch.setattr(bounded_http, "exchange", answers)
    client = Client(8501)
    versions, problems = serving_check.survey(client, EXPECTED)
    probe = serving_check.probe(client, EXPECTED)
    misfit = serving_check.misfit(client, EXPECTED)
    told = [text for each in versions for text in (each.state, each.error)]
    return [*problems, misfit, probe.note, probe.answer, *told]


def test_a_proper_server_leaves_nothing_to_say(monkeypatch):
    assert outcome(STATUS, METADATA, PREDICTION, monkeypatch) == ["", "", "[[2.0, 3]]", "AVAILABLE", ""]


@pytest.mark.parametrize("which", [0, 1, 2])
@settings(max_examples=150)
@given(data=st.data())
def test_an_answer_that_is_wrong_anywhere_ends_in_words(which, data):
    answers = [STATUS, METADATA, PREDICTION]
    place = data.draw(st.sampled_from(list(places(answers[which]))))
    answers[which] = replaced(answers[which], place, data.draw(JSON))
    with pytest.MonkeyPatch.context() as monkeypatch:
        for text in outcome(*answers, monkeypatch):
            assert text.isprintable()
            assert len(text) < MOST_CHARACTERS + 200


def metadata_of(*sizes, **more):
    info = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": size} for size in sizes]}, **more}
    return {"metadata": {"signature_def": {"signature_def": {"serving_default": {"inputs": {"x": info}}}}}}


@pytest.mark.parametrize(
    "metadata",
    [metadata_of("1", dtype=10**4000), metadata_of("1", dtype="\x1b" * 5000), metadata_of(*["123"] * 5000)],
    ids=["digits", "escapes", "dimensions"],
)
def test_a_misfit_is_told_in_a_line_whatever_the_server_makes_of_it(metadata, monkeypatch):
    *_others, misfit, _note, _answer, _state, _error = outcome(STATUS, metadata, PREDICTION, monkeypatch)
    assert misfit.startswith("model m version 7 departs from its contract: input x is ")
    assert misfit.isprintable()
    assert len(misfit) < 500


@pytest.mark.parametrize("text", ["\x1b" * 3000, "a" * 3000])
def test_what_a_server_says_takes_no_more_room_for_being_escaped(text):
    assert len(said(text)) == MOST_CHARACTERS


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (metadata_of("2000000000", "0"), "the input 'x' holds 2000000000 values, too many for a probe"),
        (metadata_of(*["1"] * 300), "the input 'x' has 300 dimensions, more than a tensor can have"),
        (metadata_of("1000000", *["1"] * 99), "the inputs hold 100000000 values and lists, too many for a probe"),
        (metadata_of("1", dtype="DT_\x1b[2J"), r"the input 'x' is of type DT_\x1b[2J, which a REST request cannot"),
    ],
)
def test_a_signature_costs_no_more_than_a_probe_may(metadata, message):
    with pytest.raises(NoRequestError) as refusal:
        zero_request(metadata)
    assert str(refusal.value).startswith(message)


def test_many_large_inputs_are_refused_together():
    one = metadata_of("600000")["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
    metadata = metadata_of()
    metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"] = {"a": one, "b": one}
    with pytest.raises(NoRequestError, match=r"^the inputs hold 1200000 values and lists, too many for a probe$"):
        zero_request(metadata)


@pytest.mark.parametrize(
    ("ask", "body", "message"),
    [
        ("status", b"{}", "port {} answers with something else than the states of a model's versions, so it is no"),
        ("status", b"[]", "port {} answers with something else than a JSON object, so it is not TensorFlow Serving"),
        ("status", b"<html>", "port {} answered 200 without JSON, so it is not TensorFlow Serving: '<html>' ("),
        (
            "predict",
            b'{"outputs": ["\xff\xd8"]}',
            "port {} answers with bytes that are no text; export that output",
        ),
        ("predict", b"\xff\xd8", "port {} answered 200 without JSON, so it is not TensorFlow Serving: "),
        (
            "predict",
            b'{"outputs": [' + b"1," * 10**6 + b"1]}",
            "port {} answers with more than a check reads (it holds more than 1000000 values); ask for fewer rows",
        ),
        ("predict", b"{}", "port {} answers with something else than a prediction, so it is not TensorFlow Serving"),
    ],
)
def test_the_sentence_names_the_port(ask, body, message):
    with HostileServer([ok(body)]) as server:
        client = Client(server.port)
        with pytest.raises(ServerError) as refusal:
            client.status("m") if ask == "status" else client.predict("m", {})
    assert str(refusal.value).startswith(message.format(server.port))


def test_an_endless_answer_is_a_server_that_cannot_be_reached():
    endless = itertools.chain([ok(b"")], itertools.repeat(b"x" * 65536))
    with HostileServer(endless) as server, pytest.raises(UnreachableError) as refusal:
        Client(server.port).status("m")
    assert str(refusal.value) == f"port {server.port} sends more than 1024 KiB"


@pytest.mark.parametrize("spec", [None, {}, {"version": "x"}, {"version": True}, {"version": "9" * 30}])
def test_metadata_without_a_version_are_told(spec):
    with pytest.raises(ServerError, match=r"^the metadata name no version$"):
        served_version({"model_spec": spec})


def test_figures_beyond_a_double_are_compared_like_others():
    assert difference([10**400], [10**400]) == ""
    assert difference([1.0], [10**400]).startswith("answer[0] is 1000")
