# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the status of an instance says when all is well, and what when it is not."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.inspector import Inspector, process_problems
from ansible_collections.tfserving.fleet.plugins.modules import instance_status
from running import run_module
from serving_double import FakeHost, FakeServer, Model, instance, publish

UNIT_TEMPLATE = "tfserving@{name}.service"

PROCESS = process_facts.Process(
    cpus="2-9",
    cpus_of_threads=("2-9",),
    nodes="0",
    rss_mb=200,
    threads=30,
    allocator="jemalloc",
    malloc_conf="dirty_decay_ms:1",
    started_at="2026-01-31T12:00:00Z",
    replaced=False,
)


def process(**changes):
    return process_facts.Process(**{**PROCESS.__dict__, **changes})


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def inspect(tmp_path, host, monkeypatch):
    """Inspect an instance on the made-up host."""
    (tmp_path / "proc" / "net").mkdir(parents=True)
    monkeypatch.setattr(process_facts, "process", lambda *_: PROCESS)

    def run(entry, probe_count=5, models=()):
        root = publish(tmp_path / "models", 7)
        inspector = Inspector(host.run, UNIT_TEMPLATE, root, probe_count, models, proc=tmp_path / "proc")
        return inspector.inspect(entry)

    return run


def test_an_instance_that_is_well_has_all_its_facts_and_no_problem(inspect):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        found = inspect(instance(server.port, cpus="2-9", environment={"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}))
        predictions = [path for verb, path, _ in server.calls if verb == "POST"]
    (model,) = found.pop("models")
    probe = model.pop("probe")
    assert model == {"name": "m", "versions": [{"version": 7, "state": "AVAILABLE", "error": ""}]}
    assert probe["ok"] is True
    assert 0 < probe["latency_ms"] <= probe["median_ms"]
    assert len(predictions) == 6
    assert found == {
        "name": "ranker",
        "unit": "tfserving@ranker.service",
        "state": "active (running)",
        "restarts": 0,
        "ports": {"grpc": 1, "rest": server.port},
        "pid": 4242,
        "version": "2.19.1-rw+sha.1",
        "started_at": "2026-01-31T12:00:00Z",
        "cpus": "2-9",
        "cpus_agree": True,
        "nodes": "0",
        "allocator": "jemalloc",
        "malloc_conf": "dirty_decay_ms:1",
        "rss_mb": 200,
        "threads": 30,
        "problem": "",
    }


def test_a_dead_instance_is_a_fact_and_no_failure(inspect, host):
    host.unit.update(
        ActiveState="failed", SubState="failed", MainPID="0", Result="exit-code", ExecMainStatus="255", NRestarts="5"
    )
    found = inspect(instance(1))
    assert (found["state"], found["pid"], found["restarts"]) == ("failed (failed)", 0, 5)
    assert found["problem"] == "the unit is failed, exit status 255"
    assert found["version"] == "2.19.1-rw+sha.1"


def test_a_unit_between_two_starts_says_so(inspect, host):
    host.unit.update(
        ActiveState="activating", SubState="auto-restart", MainPID="0", Result="exit-code", ExecMainStatus="1"
    )
    assert inspect(instance(1))["problem"] == "the unit is waiting to be restarted, exit status 1"


def test_a_host_without_systemd_is_a_problem_and_no_failure(tmp_path):
    inspector = Inspector(lambda _: (127, "", "not found"), UNIT_TEMPLATE, str(tmp_path), 0)
    found = inspector.inspect(instance(1))
    assert found["state"] == "unknown"
    assert "systemd does not report the state" in found["problem"]


def test_a_server_that_does_not_answer_is_a_problem(inspect):
    with FakeServer() as server:
        port = server.port
    assert f"port {port} does not answer" in inspect(instance(port))["problem"]


def test_a_model_that_is_not_as_wanted_is_not_asked_for_predictions(inspect):
    with FakeServer(m=Model({7: ("NOT_FOUND", "no such op")})) as server:
        found = inspect(instance(server.port))
        assert not [call for call in server.calls if call[0] == "POST"]
    assert found["problem"] == "model m version 7 failed to load: NOT_FOUND: no such op"


def test_a_prediction_that_fails_is_a_problem(inspect):
    with FakeServer(m=Model({7: "AVAILABLE"}, refusal=(500, "CUDA error"))) as server:
        assert inspect(instance(server.port))["problem"] == "model m fails its prediction: CUDA error"


def test_a_version_that_left_the_disk_is_a_problem(inspect):
    with FakeServer(m=Model({8: "AVAILABLE"})) as server:
        assert "model m version 8 is wanted but is not in " in inspect(instance(server.port, versions=(8,)))["problem"]


def test_no_predictions_are_made_when_none_are_asked_for(inspect):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        assert "probe" not in inspect(instance(server.port), probe_count=0)["models"][0]


def test_answers_of_another_process_are_not_taken_for_the_instances(inspect, monkeypatch):
    monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_: "process 7 (haproxy)")
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        found = inspect(instance(server.port))
        assert server.calls == []
    assert found["models"] == []
    assert found["problem"] == f"port {server.port} is answered by process 7 (haproxy)"


def test_a_server_without_rest_cannot_be_seen_and_says_so(inspect):
    found = inspect(instance(0))
    assert found["problem"] == "REST is off, so that the state of its models cannot be seen"
    assert found["rss_mb"] == 200


@pytest.mark.parametrize(
    ("plan", "running", "problem"),
    [
        ({"cpus": "2-9"}, {}, ""),
        ({"cpus": "2,3-9"}, {}, ""),
        ({"cpus": "0-3"}, {}, "it runs on the CPUs 2-9, planned are 0-3"),
        ({}, {"cpus_of_threads": ("0-15", "2-9")}, "its threads disagree about their CPUs (0-15 and 2-9)"),
        (
            {"environment": {"LD_PRELOAD": "/lib/libjemalloc.so.2"}},
            {"allocator": "glibc"},
            "its allocator is glibc although /lib/libjemalloc.so.2 is to be preloaded",
        ),
        ({"environment": {"LD_PRELOAD": "/lib/libother.so"}}, {"allocator": "glibc"}, ""),
        ({}, {"replaced": True}, "its binary was replaced since it started; restart it"),
    ],
)
def test_a_process_that_departs_from_the_plan_is_a_problem(plan, running, problem):
    assert "; ".join(process_problems(plan, process(**running))) == problem


def test_a_shared_binary_is_asked_for_its_version_once(tmp_path, host):
    host.unit["ActiveState"] = "inactive"
    inspector = Inspector(host.run, UNIT_TEMPLATE, str(tmp_path), 0)
    assert [inspector.inspect(instance(1))["version"] for _ in range(2)] == ["2.19.1-rw+sha.1"] * 2
    assert len([call for call in host.calls if call[-1] == "--version"]) == 1


def test_the_module_returns_one_entry_per_instance(tmp_path, host, monkeypatch):
    monkeypatch.setattr(process_facts, "runner", lambda _module: host.run)
    host.unit["MainPID"] = str(os.getpid())
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        arguments = {"instances": [instance(server.port)], "model_root": publish(tmp_path, 7), "probe_count": 1}
        result = run_module(instance_status, **arguments)
    assert not result.get("failed")
    assert [(entry["name"], entry["problem"]) for entry in result["instances"]] == [("ranker", "")]
