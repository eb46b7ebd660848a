# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The client's side of a budget: what is asked of the load generator, what comes back, and what cannot be probed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load import spec
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import runner
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import probe
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.diagnosis import diagnosed
from evidence_cases import healthy
from planner_cases import CPU_HOST, instance, model, plan

SIGNATURE = {
    "inputs": {"x": {"dtype": "DT_FLOAT", "name": "x:0", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "4"}]}}},
    "outputs": {"y": {"dtype": "DT_FLOAT", "name": "y:0", "tensor_shape": {"dim": [{"size": "-1"}]}}},
    "method_name": "tensorflow/serving/predict",
}
METADATA = {"metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}}}


def planned(*names: str) -> dict[str, Any]:
    wishes = [instance(name, [name], cpus=1) for name in names]
    return plan(CPU_HOST, wishes, [model(name, memory_mb=100) for name in names])


def wanted(*names: str, **more: Any) -> probe.Wanted:
    usual = {"host": "a1", "address": "10.0.0.1", "instances": (), "seconds": 10.0, "given": {}}
    return probe.Wanted(plan=planned(*names), **{**usual, **more})


class Generator:
    """A load host: what it was asked and told to begin, and what its stages came to."""

    def __init__(self, monkeypatch, closed: tuple[int, ...] = ()) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.begun: dict[str, Any] = {}
        self.beside: dict[str, Any] = {}
        self.between: dict[str, Any] = {"connect_ms": [0.3, 0.2, 9.0], "call_ms": [0.8, 1.2] * 5 + [40.0]}
        self.results: dict[str, Any] = {}
        self.name, self.closed = "load-1", closed
        for name in ("ask", "begin", "end"):
            monkeypatch.setattr(runner, name, getattr(self, name))

    def ask(self, _place, subject, question):
        self.asked.append((subject, question))
        target = question["target"]
        answers = {
            name: {"open": False, "why": "refused"} if target[name] in self.closed else {"open": True}
            for name in ("grpc", "rest")
        }
        metadata = {name: METADATA for name in question["models"]}
        return {"ports": answers, "metadata": metadata, "cores": 2, "source": "10.0.0.9", "tls": None}

    def begin(self, _place, name, stage, what="run"):
        (self.begun if what == "run" else self.beside)[name] = stage

    def end(self, _place, name, _seconds):
        if name in self.beside and self.between:
            return self.between
        if name not in self.results:
            raise WishError("", "load host load-1: 10.0.0.7 port 9500 (grpc) cannot be reached: refused", "")
        return self.results[name]


def result(*us: int, **errors: int) -> dict[str, Any]:
    seen = Histogram()
    for each in us:
        seen.record(each)
    return {"sent": len(us) + sum(errors.values()), "ok": len(us), "errors": errors, "histogram": seen.to_json()}


def test_an_instance_gets_a_low_fixed_rate_on_one_connection_for_the_window(monkeypatch):
    generator = Generator(monkeypatch)
    found = probe.started(generator, wanted("ranker"))
    assert found["unread"] == []
    assert [each["via"] for each in found["running"]] == ["direct"]
    stage = generator.begun["ranker-direct"]
    assert (stage["rate"], stage["duration_s"], stage["warmup_s"]) == (8.0, 10.0, 1.0)
    assert (stage["protocol"], stage["processes"], stage["connections"]) == ("grpc", 1, 1)
    assert (stage["target"]["host"], stage["target"]["metrics"]) == ("10.0.0.1", None)
    assert stage["target"]["reply_bytes"] == 4 << 20
    assert spec.checked(stage) == stage


def test_calls_that_ask_nothing_go_beside_the_probe_as_often(monkeypatch):
    generator = Generator(monkeypatch)
    probe.started(generator, wanted("ranker"))
    beside = generator.beside["ranker-direct-network"]
    assert (beside["protocol"], beside["model"], beside["calls"], beside["pause_s"]) == ("grpc", "ranker", 80, 0.125)
    assert beside["target"] == generator.begun["ranker-direct"]["target"]


def test_without_an_answer_to_those_the_probe_has_seen_no_less(monkeypatch):
    generator = Generator(monkeypatch)
    generator.between = {}
    running = probe.started(generator, wanted("ranker"))["running"]
    generator.results = {"ranker-direct": result(10_000)}
    found = probe.ended(generator, running)
    assert found["unread"] == []
    seen = found["client"]["ranker"]
    assert (seen["mean_ms"], seen["network_ms"], seen["call_ms"]) == (10.0, None, None)


def test_a_long_window_is_probed_for_as_long_as_the_generator_waits(monkeypatch):
    generator = Generator(monkeypatch)
    probe.started(generator, wanted("ranker", seconds=60.0))
    assert generator.begun["ranker-direct"]["duration_s"] == 15.0


def test_three_instances_are_probed_at_a_time_and_the_others_are_said(monkeypatch):
    generator = Generator(monkeypatch)
    found = probe.started(generator, wanted("a", "b", "c", "d"))
    assert list(generator.begun) == ["a-direct", "b-direct", "c-direct"]
    assert found["unread"] == [
        {
            "source": "probe of d",
            "why": "3 instances of a host are probed at a time; name it with diagnosis_instances",
        }
    ]
    generator.begun.clear()
    probe.started(generator, wanted("a", "b", "c", "d", instances=["d"]))
    assert list(generator.begun) == ["d-direct"]


def test_an_instance_that_is_not_reached_is_a_line_and_costs_the_others_nothing(monkeypatch):
    ports = {each["name"]: each["ports"] for each in planned("a", "b")["instances"]}
    generator = Generator(monkeypatch, closed=(ports["a"]["rest"],))
    found = probe.started(generator, wanted("a", "b"))
    assert list(generator.begun) == ["b-direct"]
    (row,) = found["unread"]
    assert row["source"] == "probe of a"
    assert "10.0.0.1 refuses connections of load host load-1 to its rest port" in row["why"]


def test_calls_also_go_through_the_gateway_where_there_is_one(monkeypatch):
    generator = Generator(monkeypatch)
    gateway = {"address": "10.0.0.7", "gateway_grpc_ports": {}, "gateway_rest_port": 8080}
    found = probe.started(generator, wanted("ranker", "next", gateway=gateway, through=["ranker"]))
    assert [each["stage"] for each in found["running"]] == ["ranker-direct", "ranker-gateway", "next-direct"]
    direct, through = (generator.begun[f"ranker-{via}"]["target"] for via in ("direct", "gateway"))
    assert (through["host"], through["grpc"], through["rest"]) == ("10.0.0.7", direct["grpc"] + 1000, 8080)


def test_the_port_of_the_gateway_is_the_wished_one(monkeypatch):
    direct = {"instance": "ranker", "grpc": 8500, "rest": 8501, "secured": False, "model": "ranker"}
    gateway = {"address": "10.0.0.7", "gateway_grpc_ports": {"ranker": 7000}, "gateway_tls_certificate": "x.pem"}
    found = probe.through(direct, gateway)
    assert (found["grpc"], found["rest"], found["secured"]) == (7000, 8080, True)


def test_by_rest_nothing_is_said_of_tls():
    asked = probe.asked_for("ranker", wanted("ranker", given={"protocol": "rest", "tls_ca": "ca.pem"}))
    assert (asked.protocol, asked.tls_ca) == ("rest", None)
    assert probe.asked_for("ranker", wanted("ranker", given={"tls_ca": "ca.pem"})).tls_ca == "ca.pem"


def test_a_wrong_variable_is_a_line(monkeypatch):
    found = probe.started(Generator(monkeypatch), wanted("ranker", given={"protocol": "http"}))
    assert found["unread"] == [
        {"source": "probe of ranker", "why": "protocol: is the string 'http'; use one of: grpc, rest"}
    ]


def test_what_came_back_is_kept_by_instance_and_way(monkeypatch):
    generator = Generator(monkeypatch)
    gateway = {"address": "10.0.0.7"}
    running = probe.started(generator, wanted("ranker", gateway=gateway, through=["ranker"]))["running"]
    generator.results = {
        "ranker-direct": result(10_000, 12_000, 14_000, RESOURCE_EXHAUSTED=1),
        "ranker-gateway": result(15_000),
    }
    found = probe.ended(generator, running)
    assert found["unread"] == []
    seen = found["client"]["ranker"]
    assert (seen["mean_ms"], seen["calls"], seen["via"], seen["entrypoint"]) == (12.0, 4, "direct", "GRPC")
    assert seen["statuses"] == {"OK": 3, "RESOURCE_EXHAUSTED": 1}
    assert (seen["network_ms"], seen["call_ms"]) == (0.3, 1.0)
    assert (seen["gateway"]["mean_ms"], seen["gateway"]["via"]) == (15.0, "gateway")


def test_a_probe_without_a_result_and_one_without_an_answer_are_lines(monkeypatch):
    generator = Generator(monkeypatch)
    running = probe.started(generator, wanted("ranker", gateway={"address": "10.0.0.7"}, through=["ranker"]))["running"]
    generator.results = {"ranker-direct": result(UNAVAILABLE=80)}
    found = probe.ended(generator, running)
    assert [each["why"] for each in found["unread"]] == [
        "directly: no call was answered (80 UNAVAILABLE)",
        "through the gateway: load host load-1: 10.0.0.7 port 9500 (grpc) cannot be reached: refused",
    ]
    assert found["client"]["ranker"]["mean_ms"] is None


def test_a_probe_is_kept_with_the_evidence_and_makes_its_budget_add_up():
    seen = {"via": "direct", "entrypoint": "GRPC", "mean_ms": 11.0, "network_ms": 0.2, "call_ms": 0.3}
    beside = {**seen, "via": "gateway", "mean_ms": 12.0}
    fetched = {"client": {"ranker": {**seen, "gateway": beside}}, "unread": [{"source": "probe of b", "why": "x"}]}
    evidence = probe.together(healthy(), [{"running": [], "unread": []}, fetched], "")
    rows = [each for each in diagnosed({"a1": evidence})["budgets"] if each["instance"] == "ranker"]
    direct, through = rows[:2]
    assert (direct["seen_by"], direct["via"], through["via"]) == ("client", "direct", "gateway")
    assert direct["parts_ms"]["transport"] == 0.3
    assert direct["adds_up"]
    assert direct["text"].startswith("client (direct) 11.0 ms = gateway 0.00 + transport 0.30 + ")
    assert through["text"].startswith("client (through the gateway) 12.0 ms = transport 0.30 + ")


@pytest.mark.parametrize(
    ("probes", "why", "said"),
    [
        ([], "check mode sends no calls", "probe: check mode sends no calls"),
        ([{"msg": "Failed to connect", "unreachable": True}], "", "probe: Failed to connect"),
        ([{"unread": [{"source": "probe of ranker", "why": "refused"}]}], "", "probe of ranker: refused"),
    ],
)
def test_a_probe_that_could_not_run_is_not_checked_and_no_failure(probes, why, said):
    document = diagnosed({"a1": probe.together(healthy(), probes, why)})
    assert said in [each["why"] for each in document["not_checked"]]
    assert document["exit"] == 0


def test_a_host_without_a_plan_has_nothing_to_probe():
    bare = healthy(plan=None)
    assert probe.together(bare, [], "check mode sends no calls")["unread"] == bare["unread"]


def test_callers_who_take_no_large_answers_are_told_by_the_statuses_of_the_probe():
    seen = {"mean_ms": None, "statuses": {"OK": 0, "RESOURCE_EXHAUSTED": 80}, "via": "direct", "entrypoint": "GRPC"}
    document = diagnosed({"a1": probe.together(healthy(), [{"client": {"ranker": seen}, "unread": []}], "")})
    assert [(each["id"], each["verdict"]) for each in document["findings"]] == [("client.message_limit", "cause")]
