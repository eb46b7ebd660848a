# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which processes serve in a roll-out, and golden requests to them."""

from __future__ import annotations

import os

from ansible_collections.tfserving.fleet.plugins.module_utils.serving import pulse
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import ServerError, UnreachableError
from ansible_collections.tfserving.fleet.plugins.modules import rollout_servers
from running import run_module
from serving_double import HALF_PLUS_TWO

FIRST, SECOND = "0" * 31 + "1", "0" * 31 + "2"
RIGHT, WRONG = ([[2.0]], 5000.0), ([[3.0]], 1.0)


def link(folder, name, target):
    path = folder / f"invocation:tfserving@{name}.service"
    if path.is_symlink():
        path.unlink()
    os.symlink(target, path)


def test_each_start_of_an_instance_has_its_own_id(tmp_path):
    link(tmp_path, "ranker", FIRST)
    assert pulse.processes(["ranker"], str(tmp_path)) == {"ranker": {"process": FIRST, "calls": 0}}
    link(tmp_path, "ranker", SECOND)
    assert pulse.processes(["ranker"], str(tmp_path))["ranker"]["process"] == SECOND


def test_an_instance_without_a_process_has_another_one_than_before(tmp_path):
    link(tmp_path, "strange", "../../etc/passwd")
    found = pulse.processes(["ranker", "strange"], str(tmp_path))
    assert [each["process"] for each in found.values()] == [pulse.GONE, pulse.GONE]


class Scripted:
    """Answers one after another: (answer, latency) or an error."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def metadata(self, model, label=None, version=None):
        return {"metadata": {"signature_def": {"signature_def": HALF_PLUS_TWO}}}

    def predict(self, model, body, label=None, version=None):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def request(**more):
    return {"name": "one", "inputs": {"x": [[0.0]]}, "expect": {"y": [[2.0]]}, "rtol": 1e-3, "atol": 1e-5, **more}


def ask(*answers, requests=None, now=lambda: 0.0):
    script = Scripted(*answers)
    wanted = [request()] * len(answers) if requests is None else requests
    return pulse.ask({"ranker": 8501}, "ranker", wanted, lambda _port: script, now)["ranker"]


def test_wrong_answers_are_counted_among_all():
    assert ask(RIGHT, WRONG, RIGHT) == [3, 1]
    assert ask(RIGHT, requests=[request(max_latency_ms=1.0)]) == [1, 0]


def test_a_full_queue_is_no_answer_and_a_refusal_is_a_wrong_one():
    assert ask(ServerError(503, "queue is full"), ServerError(429, "later"), RIGHT) == [1, 0]
    assert ask(ServerError(400, "bad shape"), RIGHT) == [2, 1]


def test_a_server_that_does_not_answer_is_not_counted_any_further():
    assert ask(RIGHT, UnreachableError("port 8501 refuses"), RIGHT) == [1, 0]


def test_requests_that_take_too_long_are_left_out():
    times = iter([0.0, 10.0, 31.0])
    assert ask(RIGHT, RIGHT, RIGHT, now=lambda: next(times)) == [2, 0]


def test_the_module_reads_and_asks(monkeypatch, tmp_path):
    link(tmp_path, "ranker", FIRST)
    monkeypatch.setattr(pulse.processes, "__defaults__", (str(tmp_path),))
    found = run_module(rollout_servers, instances={"ranker": "8501"})
    assert found["servers"] == {"ranker": {"process": FIRST, "calls": 0}}
    assert (found["golden"], found["changed"]) == ({"ranker": [0, 0]}, False)


def test_a_port_that_is_none_is_refused():
    found = run_module(rollout_servers, instances={"ranker": "rest"})
    assert found["msg"] == "instances: holds a port that is no number; give the REST port of each instance"
