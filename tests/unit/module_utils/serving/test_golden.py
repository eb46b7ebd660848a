# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A round of golden requests: every one has to be right, and none gets a second chance."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import check, golden
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import (
    Client,
    ServerError,
    UnreachableError,
)
from serving_double import HALF_PLUS_TWO, Clock, FakeServer, Model

ORIGIN = "golden/ranker.jsonl"


def request(line: int = 1, **more: Any) -> dict[str, Any]:
    given = {"name": f"line {line}", "line": line, "inputs": {"x": [[0.0]]}, "rtol": 1e-3, "atol": 1e-5}
    return {**given, **({"expect": {"y": [[2.0]]}} if not more.get("must_fail") else {}), **more}


def entry(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"file": ORIGIN, "sha256": "a" * 64, "total": len(requests), "requests": list(requests)}


class Scripted:
    """A client that gives the answers it is told, one after another: (answer, latency) or an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def metadata(self, model: str, label: str | None = None, version: int | None = None) -> dict[str, Any]:
        self.asked.append(("metadata", label, version))
        return {"metadata": {"signature_def": {"signature_def": HALF_PLUS_TWO}}}

    def predict(self, model: str, body: Any, label: str | None = None, version: int | None = None) -> Any:
        self.asked.append((body, label, version))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


RIGHT, WRONG = ([[2.0]], 1.0), ([[3.0]], 1.0)
BUSY = ServerError(503, "The batch scheduling queue is full")
REFUSED = ServerError(400, "bad shape")
SILENT = UnreachableError("port 8501 has not answered in full after 31 s")


def ask(client: Scripted, *requests: dict[str, Any]) -> golden.Round:
    return golden.ask(client, "ranker", entry(*requests))  # type: ignore[arg-type]


def test_a_round_of_right_answers_proves_the_model():
    client = Scripted(RIGHT, ([[2.001]], 3.0), REFUSED)
    found = ask(client, request(1), request(2), request(3, must_fail=True))
    assert (found.note, found.words) == ("", f"3 of 3 requests of {ORIGIN}")
    assert found.latencies == [1.0, 3.0]
    assert found.answer == "[[2.0]]"
    assert [body for body, _label, _version in client.asked[1:]] == [{"inputs": {"x": [[0.0]]}}] * 3


def test_one_wrong_answer_fails_the_round_and_is_not_asked_again():
    client = Scripted(RIGHT, WRONG, RIGHT)
    found = ask(client, request(1), request(2, name="second"), request(3))
    assert found.note == (
        f"golden request 'second' ({ORIGIN}:2): y[0][0] is 3, expected 2 "
        "(1 apart, 0.00201 allowed; 1 of 1 values differs)"
    )
    assert (found.asked, found.passing, client.answers) == (3, False, [])


def test_many_failures_are_counted_and_the_first_ones_told():
    found = ask(Scripted(*[REFUSED] * 5), *(request(line) for line in range(1, 6)))
    assert found.note.count("golden request 'line") == 3
    assert found.note.endswith("bad shape; and 2 more of 5 golden requests fail")


@pytest.mark.parametrize(
    ("answers", "passing"), [((RIGHT, BUSY), True), ((WRONG, BUSY), False), ((REFUSED,) * 2, False)]
)
def test_only_a_full_queue_may_pass(answers, passing):
    assert ask(Scripted(*answers), request(1), request(2)).passing is passing


def test_a_wrong_answer_is_not_forgotten_where_the_next_request_gets_none():
    found = ask(Scripted(WRONG, SILENT), request(1), request(2))
    assert found.note.startswith("golden request 'line 1'")
    assert found.passing is False


@pytest.mark.parametrize("answers", [(RIGHT, SILENT), (BUSY, SILENT)], ids=["right", "busy"])
def test_a_round_without_a_wrong_answer_and_without_an_end_is_asked_again(answers):
    with pytest.raises(UnreachableError, match="has not answered in full"):
        ask(Scripted(*answers), request(1), request(2))


def test_a_full_queue_is_not_the_failure_that_is_wanted():
    found = ask(Scripted(BUSY), request(must_fail=True))
    assert "it must fail for what it asks, and the server says" in found.note


def test_the_first_answer_has_no_latency_to_keep_and_must_be_right_all_the_same():
    wanted = [request(1, max_latency_ms=5), request(2, max_latency_ms=5)]
    slow, fast = ([[2.0]], 900.0), ([[2.0]], 4.0)
    assert ask(Scripted(slow, fast, fast), *wanted).note == ""
    assert ask(Scripted(fast, fast, slow), *wanted).note == (
        f"golden request 'line 2' ({ORIGIN}:2): it took 900.0 ms, more than 5 ms"
    )
    client = Scripted(([[3.0]], 900.0), fast, fast)
    assert "expected 2" in ask(client, *wanted).note
    assert len(client.answers) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"z": 1}, "its answer is none of its signature: y is a mapping and not a list"),
        ("\x1b[2J", r"its answer is none of its signature: y is a string and not a list"),
    ],
)
def test_an_answer_that_is_none_is_told_and_harmless(answer, words):
    assert words in ask(Scripted((answer, 1.0)), request()).note


def test_a_signature_that_the_server_does_not_have_is_told():
    found = ask(Scripted(RIGHT), request(signature_name="wide"))
    assert "its signature is not in the metadata" in found.note


def test_a_round_that_takes_too_long_ends():
    clock = Clock()

    class Slow(Scripted):
        def predict(self, *given: Any) -> Any:
            clock.sleep(50.0)
            return super().predict(*given)

    client = Slow(*[RIGHT] * 5)
    found = golden.ask(client, "ranker", entry(*(request(line) for line in range(1, 6))), clock.now)
    assert found.note == "only 3 of 5 golden requests were answered within 120 s"
    assert found.passing is False


def test_a_version_can_be_asked_for():
    client = Scripted(RIGHT)
    (found,) = golden.each(client, "ranker", [request()], version=7)
    assert client.asked == [("metadata", None, 7), ({"inputs": {"x": [[0.0]]}}, None, 7)]
    assert list(found.outputs["y"].values) == [2.0]


# --- as a part of the proof ----------------------------------------------------------------------------------


def prove(model: Model, wish: dict[str, Any], labels: dict[str, int] | None = None) -> tuple[check.Probe, list[Any]]:
    with FakeServer(ranker=model) as server:
        config = {"name": "ranker", "base_path": "/none", "version_labels": labels or {}}
        instance = {"name": "a", "model_config": {"model_config_list": {"config": [config]}}}
        (expected,) = check.expectations(instance, [{"name": "ranker", **wish}], "/none")
        assert expected.asked
        return check.probe(Client(server.port), expected, repeats=5), server.calls


def test_a_model_is_proven_by_its_golden_requests_also_where_its_probe_is_declined():
    found, calls = prove(Model({7: "AVAILABLE"}), {"golden": entry(request(1), request(2)), "probe": False})
    assert (found.ok, found.golden, found.answer) == (True, f"2 of 2 requests of {ORIGIN}", "[[2.0]]")
    assert sum(path.endswith(":predict") for _verb, path, _body in calls) == 2
    assert found.report()["golden"] == found.golden


def test_a_wrong_answer_fails_the_proof_for_good():
    found, _calls = prove(Model({7: "AVAILABLE"}, answer=[[9.0]]), {"golden": entry(request())})
    assert (found.ok, found.passing) == (False, False)
    assert "y[0][0] is 9, expected 2" in found.note


def test_a_server_that_is_busy_is_asked_again_later():
    model = Model({7: "AVAILABLE"}, refusal=(503, "The batch scheduling queue is full"))
    found, _calls = prove(model, {"golden": entry(request())})
    assert (found.ok, found.passing) == (False, True)


def test_a_label_has_to_answer_a_golden_request_too():
    model = Model({7: "AVAILABLE"}, labels={"stable": 7})
    wish = {"golden": entry(request())}
    assert prove(model, wish, {"stable": 7})[0].ok is True
    assert prove(model, wish, {"old": 6})[0].note.startswith("label old: ")


@pytest.mark.parametrize(
    "proof", [{"golden": entry(request())}, {"probe": {"inputs": {"x": [[0.0]]}}}], ids=["golden", "probe"]
)
def test_a_label_that_meets_a_full_queue_is_asked_again_later(proof):
    class Queued(Client):
        def predict(self, model: str, body: Any, label: str | None = None, version: int | None = None) -> Any:
            if label:
                raise BUSY
            return super().predict(model, body, label, version)

    with FakeServer(ranker=Model({7: "AVAILABLE"}, labels={"stable": 7})) as server:
        (expected,) = expected_of({"name": "ranker", **proof}, [7], stable=7)
        found = check.probe(Queued(server.port), expected)
    assert (found.ok, found.passing) == (False, True)
    assert found.note == "label stable: The batch scheduling queue is full"


def test_a_probe_of_its_own_is_asked_as_well():
    wish = {"golden": entry(request()), "probe": {"inputs": {"x": [[1.0]]}, "expect": [[7.0]]}}
    found, _calls = prove(Model({7: "AVAILABLE"}), wish)
    assert found.ok is False
    assert "expected 7.0" in found.note
    assert found.golden == f"1 of 1 requests of {ORIGIN}"


def test_a_plan_without_the_requests_of_the_file_leaves_the_proof_to_the_probe():
    found, _calls = prove(Model({7: "AVAILABLE"}), {"golden": {"file": ORIGIN}})
    assert (found.ok, found.golden) == (True, "")


# --- two versions, each with a proof of its own ---------------------------------------------------------------


def expected_of(wish: dict[str, Any], versions: list[int], **labels: int) -> list[check.Expectation]:
    policy = {"specific": {"versions": versions}}
    config = {"name": "ranker", "base_path": "/none", "version_labels": labels, "model_version_policy": policy}
    instance = {"name": "a", "model_config": {"model_config_list": {"config": [config]}}}
    return check.expectations(instance, [wish], "/none")


def prove_both(golden_of_8: dict[str, Any] | None, proof_of_7: dict[str, Any], **labels: int) -> check.Probe:
    """Return the proof of a server of two versions, of which 7 answers [[2.0]] and 8 [[5.0]]."""
    model = Model({7: "AVAILABLE", 8: "AVAILABLE"}, labels=labels)
    model.answers = {7: [[2.0]], 8: [[5.0]]}
    with FakeServer(ranker=model) as server:
        wish = {"name": "ranker", "golden": golden_of_8, "proofs": {"7": {"golden": None, "probe": None, **proof_of_7}}}
        (expected,) = expected_of(wish, [7, 8], **labels)
        return check.probe(Client(server.port), expected)


GOLDEN_8, GOLDEN_7 = entry(request(1, expect={"y": [[5.0]]})), entry(request(1))


def test_each_version_is_proven_by_its_own_golden_requests():
    found = prove_both(GOLDEN_8, {"golden": GOLDEN_7}, stable=7, next=8)
    assert (found.ok, found.note, found.answer) == (True, "", "[[5.0]]")
    assert [(part.version, part.labels, one.ok) for part, one in found.parts] == [
        (None, {"next": 8}, True),
        (7, {"stable": 7}, True),
    ]
    assert "parts" not in found.report()


def test_the_version_before_is_not_judged_by_the_requests_of_the_next_one():
    found = prove_both(GOLDEN_8, {"golden": GOLDEN_8})
    assert (found.ok, found.passing) == (False, False)
    assert found.note.startswith(f"version 7: golden request 'line 1' ({ORIGIN}:1): y[0][0] is 2, expected 5")
    assert [one.ok for _part, one in found.parts] == [True, False]


def test_a_failure_of_the_next_version_is_its_own():
    found = prove_both(GOLDEN_7, {"golden": GOLDEN_7})
    assert found.note.startswith("golden request 'line 1'")
    assert [one.ok for _part, one in found.parts] == [False, True]


def test_a_wrong_version_stays_wrong_where_the_other_one_gives_no_answer():
    class Halting(Client):
        def predict(self, model: str, body: Any, label: str | None = None, version: int | None = None) -> Any:
            if version == 7:
                raise SILENT
            return super().predict(model, body, label, version)

    with FakeServer(ranker=Model({7: "AVAILABLE", 8: "AVAILABLE"}, answer=[[9.0]])) as server:
        (expected,) = expected_of({"name": "ranker", "golden": GOLDEN_8, "proofs": {"7": {"golden": GOLDEN_7}}}, [7, 8])
        found = check.probe(Halting(server.port), expected)
    assert (found.ok, found.passing) == (False, False)
    assert [(part.version, one.ok) for part, one in found.parts] == [(None, False)]


@pytest.mark.parametrize(
    ("proof", "ok", "parts"),
    [
        ({"probe": {"inputs": {"x": [[1.0]]}, "expect": [[2.0]]}}, True, 2),
        ({"probe": {"inputs": {"x": [[1.0]]}, "expect": [[5.0]]}}, False, 2),
        ({}, True, 2),
        ({"probe": False}, True, 0),
    ],
    ids=["right", "wrong", "zeros", "declined"],
)
def test_a_version_without_golden_requests_is_proven_by_its_own_probe(proof, ok, parts):
    found = prove_both(GOLDEN_8, proof)
    assert (found.ok, len(found.parts)) == (ok, parts)


def test_each_version_keeps_its_own_contract():
    model = Model({7: "AVAILABLE", 8: "AVAILABLE"})
    other = {**HALF_PLUS_TWO["serving_default"], "outputs": {"z": HALF_PLUS_TWO["serving_default"]["outputs"]["y"]}}
    model.signatures_of = {8: {"serving_default": other}}
    contracts = {"7": {"outputs": {"y": {}}}, "8": {"outputs": {"z": {}}}}
    policy = {"specific": {"versions": [7, 8]}}
    config = {"name": "ranker", "base_path": "/none", "model_version_policy": policy}
    instance = {"name": "a", "model_config": {"model_config_list": {"config": [config]}}}

    def misfit(first: str, second: str) -> str:
        wish = {"name": "ranker", "contract": contracts[second], "proofs": {"7": {"contract": contracts[first]}}}
        (expected,) = check.expectations(instance, [wish], "/none")
        return check.misfit(Client(server.port), expected)

    with FakeServer(ranker=model) as server:
        assert misfit("7", "8") == ""
        assert misfit("8", "8").startswith("model ranker version 7 departs from its contract: ")
        assert misfit("7", "7").startswith("model ranker version 8 departs from its contract: ")
