# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is judged, what is shown and what is nobody's fault when a gateway asks golden requests of two versions.

lab/reference_server/tests/test_golden_answers.py asks real servers.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import golden_answers, unary
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.golden_answers import GRPC, REST, Server, Wish
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.unary import CallError, StatusError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import requests
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import (
    Client,
    ServerError,
    UnreachableError,
)
from ansible_collections.tfserving.fleet.plugins.modules import golden_answers as module
from running import run_module

TWO = {"name": "two", "line": 1, "inputs": {"x": [1.0, 2.0]}, "expect": {"y": [0.5, 0.25]}}
FREE = {"name": "free", "inputs": {"x": [1.0]}}
REFUSED = {"name": "text", "inputs": {"x": [1.0]}, "must_fail": True}
HERE = Server("h1.ranker", "10.0.0.1", 8501, 8500)
COLUMN = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}


class Fleet:
    """Servers that answer by version and protocol: values, an error, or the next of an iterator."""

    def __init__(self, monkeypatch) -> None:
        self.answers: dict[tuple[int, str], Any] = {}
        self.calls: list[tuple[int, str]] = []
        self.output = "y"
        monkeypatch.setattr(Client, "metadata", lambda _self, *_named, version: self.metadata(version))
        monkeypatch.setattr(Client, "predict", lambda _self, _model, _body, _label, version: self.rest(version))
        monkeypatch.setattr(unary, "call", self.grpc)

    def serve(self, version: int, rest: Any, grpc: Any = None) -> None:
        self.answers[version, REST] = rest
        self.answers[version, GRPC] = rest if grpc is None else grpc

    def metadata(self, version: int) -> dict[str, Any]:
        if (version, REST) not in self.answers:
            raise ServerError(404, "Servable not found")
        signature = {"inputs": {"x": COLUMN}, "outputs": {self.output: COLUMN}}
        return {"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}

    def take(self, version: int, protocol: str) -> Any:
        self.calls.append((version, protocol))
        found = self.answers[version, protocol]
        found = next(found) if hasattr(found, "__next__") else found
        if isinstance(found, Exception):
            raise found
        return found

    def rest(self, version: int) -> tuple[Any, float]:
        return self.take(version, REST), 1.0

    def grpc(self, _target: Any, method: str, body: bytes, seconds: float, most: int) -> bytes:
        assert (method, seconds <= 60, most) == (golden_answers.METHOD, True, 16 << 20)
        spec = messages._message(2, next(each[2] for each in messages.fields(memoryview(body)) if each[0] == 1))
        versions = [messages._message(kind, held) for field, kind, held in messages.fields(spec) if field == 2]
        version = next(each[2] for each in messages.fields(versions[0]))
        values = self.take(version, GRPC)
        return messages.encode_response({self.output: Tensor("DT_FLOAT", (len(values),), values)})


@pytest.fixture
def servers(monkeypatch):
    return Fleet(monkeypatch)


def ask(*asked: Any, before: Server | None = HERE, **more: Any) -> tuple[Wish, golden_answers.Found]:
    wish = Wish("ranker", 8, 7, asked or (TWO,), "golden.jsonl")
    return wish, golden_answers.ask(wish, HERE, before, **more)


def lines(*asked: Any, **more: Any) -> list[str]:
    wish, found = ask(*asked, **more)
    return golden_answers.text(wish, [found]).splitlines()


def test_a_right_version_is_shown_beside_the_one_before(servers):
    servers.serve(8, [0.5, 0.25])
    servers.serve(7, [0.5, 0.5])
    assert lines() == [
        "ranker 8 on h1.ranker, 1 golden request over REST and gRPC: all as expected",
        "  against 7 on the same requests:",
        "    y: max abs 0.25, max rel 0.5 at two y[1] (0.5 and 0.25); 1 of 2 values differ",
    ]
    # REST's numbers of the version before are not needed.
    assert (7, REST) not in servers.calls


def test_a_fault_over_one_protocol_alone_is_one(servers):
    servers.serve(8, [0.5, 0.25], [0.5, 0.75])
    wish, found = ask(before=None)
    said = (
        "golden request 'two' (golden.jsonl:1) over gRPC: y[1] is 0.75, expected 0.25 (0.5 apart, 0.00026 allowed;"
        " 1 of 2 values differs)"
    )
    assert (found.wrong, found.unproven) == ([said], "")
    assert golden_answers.verdict(wish, [found]) == {"wrong": f"ranker 8 answers wrongly: {said}", "unproven": ""}


def test_protocols_that_part_are_a_fault_where_nothing_is_expected(servers):
    servers.serve(8, [0.5], [0.75])
    assert ask(FREE, before=None)[1].wrong == [
        "golden request 'free' (golden.jsonl): y[0] is 0.5 over REST and 0.75 over gRPC"
    ]


def test_a_model_that_answers_by_chance_is_no_fault(servers):
    chance = itertools.count(1)
    servers.serve(8, ([float(each)] for each in chance), ([float(each)] for each in chance))
    _wish, found = ask(FREE, FREE, before=None)
    assert (found.wrong, found.notes) == (
        [],
        ["answers of 8 vary from call to call: golden request 'free' (golden.jsonl)"],
    )


def test_what_must_fail_fails_over_both_and_is_not_asked_of_the_version_before(servers):
    servers.serve(8, ServerError(400, "no"), StatusError(3, "no"))
    servers.serve(7, [1.0])
    assert ask(REFUSED)[1].wrong == []
    assert {version for version, _protocol in servers.calls} == {8}
    servers.serve(8, ServerError(400, "no"), StatusError(5, "gone"))
    assert ask(REFUSED)[1].wrong == [
        "golden request 'text' (golden.jsonl) over gRPC: it must fail for what it asks, and the server says"
        " NOT_FOUND: gone"
    ]


def test_without_grpc_rest_alone_counts_and_compares(servers):
    servers.serve(8, [0.5, 0.25], CallError("does not answer (Connection refused)"))
    servers.serve(7, [0.5, 0.25])
    assert lines(TWO, TWO) == [
        "ranker 8 on h1.ranker, 2 golden requests over REST: all as expected",
        "  against 7 on the same requests:",
        "    y: equal (4 values)",
        "  REST alone counts, since 10.0.0.1 port 8500 does not answer (Connection refused)",
    ]
    assert servers.calls.count((8, GRPC)) == 1


@pytest.mark.parametrize(
    ("rest", "grpc", "words"),
    [
        (UnreachableError("10.0.0.1 port 8501 does not answer (timed out)"), None, "10.0.0.1 port 8501 does not"),
        (
            ServerError(503, "queue is full"),
            [0.5, 0.25],
            "it has no room for golden request 'two' (golden.jsonl:1): queue",
        ),
        ([0.5, 0.25], StatusError(8, "queue"), "it has no room for golden request 'two' (golden.jsonl:1): RESOURCE_EX"),
    ],
)
def test_a_server_that_does_not_answer_or_has_no_room_is_not_the_versions_fault(servers, rest, grpc, words):
    servers.serve(8, rest, grpc)
    wish, found = ask(before=None)
    assert (found.wrong, found.asked) == ([], 0)
    assert found.unproven.startswith(words)
    verdict = golden_answers.verdict(wish, [found])
    assert verdict["unproven"].startswith(f"ranker 8 could not be asked: h1.ranker: {words}")
    assert golden_answers.text(wish, [found]).splitlines()[1].startswith(f"  {words}")


def test_a_round_ends_in_time(servers):
    servers.serve(8, [0.5, 0.25])
    _wish, found = ask(TWO, TWO, before=None, now=iter([0, 1, 121]).__next__)
    assert (found.asked, found.unproven) == (1, "only 1 of 2 golden requests were answered in 120 s")


def test_a_version_that_does_not_serve_is_wrong(servers):
    assert ask(before=None)[1].wrong == ["version 8 does not serve: Servable not found"]


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (ServerError(400, "no such input"), "7 does not answer golden request 'two' (golden.jsonl:1): no such input"),
        (UnreachableError("port 8501 does not answer"), "7 is not asked any more: port 8501 does not answer"),
    ],
)
def test_a_version_before_that_does_not_answer_costs_nothing_but_the_comparison(servers, answer, note):
    servers.serve(8, [0.5, 0.25])
    servers.serve(7, answer, CallError("is gone"))
    wish, found = ask(TWO)
    assert (found.wrong, found.unproven, found.compared) == ([], "", 0)
    assert note in found.notes
    assert golden_answers.text(wish, [found]).splitlines()[0].endswith("over REST and gRPC: all as expected")


def test_a_version_before_that_is_not_there_is_said(servers):
    servers.serve(8, [0.5, 0.25])
    assert ask()[1].notes == ["not compared with 7: Servable not found"]


def test_differences_without_a_measure_are_null(servers):
    servers.serve(8, [math.nan, 0.25])
    servers.serve(7, [0.5, 0.25])
    (found,) = ask({**TWO, "expect": {}})[1].to_json()["differences"]
    assert (found["max_abs"], found["max_rel"], found["differing"]) == (None, None, 1)


def test_a_probe_without_expectations_needs_only_an_answer(servers):
    servers.serve(8, [3.0])
    assert lines(FREE, before=None) == ["ranker 8 on h1.ranker, 1 golden request over REST and gRPC: all as expected"]


def test_what_comes_from_servers_is_made_visible_and_short(servers):
    servers.output = "\x1b[31m"
    servers.serve(8, [1.0])
    servers.serve(7, ServerError(400, "\x1b[2J" + "x" * 5000))
    wish, found = ask({**FREE, "name": "\u202e", "dtype": {"\x1b": "DT_INT32"}})
    words = golden_answers.text(wish, [found]) + str(golden_answers.verdict(wish, [found])) + str(found.to_json())
    assert words.replace("\n", "").isprintable()
    assert len(golden_answers.verdict(wish, [found])["wrong"]) < 4000


def test_latency_is_not_judged_from_afar(servers):
    servers.serve(8, [0.5, 0.25])
    assert ask({**TWO, "max_latency_ms": 0.001}, before=None)[1].wrong == []


def test_statuses_of_grpc_mean_what_those_of_rest_do():
    about = [code for code in range(1, 17) if requests.status_of_grpc(code) not in requests.NOT_OF_THE_REQUEST]
    assert [unary.STATUSES[code] for code in about] == [
        *("INVALID_ARGUMENT", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
        *("INTERNAL", "DATA_LOSS", "UNAUTHENTICATED"),
    ]


# --- the module ----------------------------------------------------------------------------------------------


def test_the_module_returns_verdict_figures_and_text(servers):
    servers.serve(8, [0.5, 0.25])
    servers.serve(7, [0.5, 0.5])
    place = {"name": "h1.ranker", "address": "10.0.0.1", "rest": 8501, "grpc": 8500, "encrypts": False}
    given = {"model": "ranker", "old": 7, "new": 8, "requests": [TWO], "origin": "golden.jsonl"}
    found = run_module(module, servers=[{**place, "before": place}], **given)
    assert (found["changed"], found["wrong"], found["unproven"]) == (False, "", "")
    assert found["servers"][0]["differences"][0]["max_abs"] == 0.25
    assert found["text"].startswith("ranker 8 on h1.ranker, 1 golden request")


def test_the_module_says_that_there_is_nothing_to_ask():
    found = run_module(module, model="ranker", old=7, new=8)
    assert (found["servers"], found["wrong"], found["unproven"]) == ([], "", "")
    assert found["text"] == "ranker has neither golden requests nor a probe, so 8 is not compared"


def test_the_module_refuses_what_is_no_server():
    found = run_module(module, model="ranker", old=7, new=8, servers=[{"name": "h1"}])
    assert found["msg"] == "servers: are none; leave them to the action, which reads them from the plans"
