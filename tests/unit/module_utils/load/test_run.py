# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages against the stub: known delays and faults are counted exactly, nothing is lost, and every end is clean."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import run as run_module
from ansible_collections.tfserving.fleet.plugins.module_utils.load.counters import CountersError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub import Stub
from load_stage import Running, ran, script, stage, told, until

BOTH = pytest.mark.parametrize("protocol", ["rest", "grpc"])


@BOTH
def test_latencies_hold_the_known_delays(protocol, tmp_path):
    with Stub(script(("reply", 0.05), ("reply", 0.2))) as stub:
        code, found = ran(tmp_path, stage(stub, protocol))
        given = stub.ask()
    assert (code, found["problems"]) == (0, [])
    assert (found["offered"], found["sent"], found["answered"], found["ok"]) == (40, 40, 40, 40)
    histogram = Histogram.from_json(found["histogram"])
    # No latency is shorter than the delay of its rank, as the stub measured it, but for the width of a bucket.
    assert all(histogram.at_rank(rank) >= given.delays.at_rank(rank) * 0.99 for rank in range(1, 41))
    # Timers of a virtual machine may end a little early.
    assert histogram.min >= 45_000
    assert histogram.share_over(180_000) >= 0.5


@BOTH
def test_a_stall_of_a_second_shows_in_p99(protocol, tmp_path):
    with Stub(script(stall_at=100, stall=1.0)) as stub:
        _, found = ran(tmp_path, stage(stub, protocol, rate=100.0, duration_s=4.0))
    histogram = Histogram.from_json(found["histogram"])
    assert found["ok"] == 400
    assert histogram.quantile(0.99) >= 900_000
    # All that was due meanwhile waited: a closed loop would have seen one slow request.
    assert histogram.share_over(500_000) >= 45 / 400


def test_faults_of_http_are_counted_exactly(tmp_path):
    acts = ["reply", "error", "reset", "close", "half", "malformed", "chunked", "wrong"]
    with Stub(script(*acts, "pieces", "reply")) as stub:
        code, found = ran(tmp_path, stage(stub, "rest"))
        assert stub.ask().acts == {**dict.fromkeys(acts, 4), "reply": 8, "pieces": 4}
    assert code == 0
    assert found["ok"] == 20
    assert found["errors"] == {"HTTP 503": 4, "connection": 8, "malformed": 4, "wrong_reply": 4}
    assert found["answered"] == 32


def test_faults_of_grpc_are_counted_exactly(tmp_path):
    acts = ["reply", "error", "stream_reset", "wrong"]
    with Stub(script(*acts)) as stub:
        code, found = ran(tmp_path, stage(stub, "grpc"))
        assert stub.ask().acts == dict.fromkeys(acts, 10)
    assert code == 0
    assert found["ok"] == 10
    assert found["errors"] == {"UNAVAILABLE": 10, "INTERNAL": 10, "wrong_reply": 10}


def test_what_a_grpc_server_takes_before_it_leaves_is_answered(tmp_path):
    with Stub(script("reply", "reply", "goaway")) as stub:
        code, found = ran(tmp_path, stage(stub, "grpc"))
        acts = stub.ask().acts
    # What is under way to a server that leaves fails, or is sent again; there may be none of it.
    assert (code, found["ok"]) == (0, sum(acts.values()))
    assert acts["goaway"] >= 1
    assert set(found["errors"]) <= {"connection"}


@BOTH
def test_silence_is_a_timeout(protocol, tmp_path):
    with Stub(script("silent")) as stub:
        code, found = ran(tmp_path, stage(stub, protocol, timeout_s=1.0))
    assert (code, found["ok"], found["answered"]) == (0, 0, 0)
    # A machine that stands still for a second comes too late to send.
    unsent = found["offered"] - found["sent"]
    assert found["errors"] == {
        **({"timeout": found["sent"]} if found["sent"] else {}),
        **({"not_sent": unsent} if unsent else {}),
    }


def test_a_reset_of_a_grpc_connection_is_an_error_of_the_connection(tmp_path):
    with Stub(script(*["reply"] * 9, "reset")) as stub:
        _, found = ran(tmp_path, stage(stub, "grpc", connections=1))
        assert stub.ask().acts["reset"] >= 1
    # All that is in flight there: at least the request that meets the reset.
    assert set(found["errors"]) == {"connection"}


@BOTH
def test_a_server_that_is_just_starting_is_waited_for(protocol, tmp_path):
    with Stub(script(slow_start=1.0)) as stub:
        code, found = ran(tmp_path, stage(stub, protocol))
    assert (code, found["ok"], found["problems"]) == (0, 40, [])


def test_a_result_has_the_documented_keys_and_warm_up_stands_apart(tmp_path):
    with Stub(script()) as stub:
        _, found = ran(tmp_path, stage(stub, "rest", warmup_s=0.5, duration_s=1.5, arrivals="constant"))
    assert set(found) == {
        *("schema", "engine", "protocol", "began", "warmup_s", "duration_s", "rate", "offered", "sent", "answered"),
        *("ok", "errors", "late", "items", "cpu", "rss_mb", "counters", "all", "histogram", "problems", "step_s"),
        "seconds",
    }
    assert (found["offered"], found["items"], found["all"]) == (60, 60, {"sent": 80, "ok": 80})
    assert found["counters"] is None
    rows = found["seconds"]
    assert [(row["t"], row["offered"], row["ok"], row["errors"]) for row in rows if row["offered"]] == [
        (0, 40, 40, 0),
        (1, 40, 40, 0),
    ]
    assert set(rows[0]) == {"t", "offered", "ok", "errors", "late", "open", "histogram"}
    # In UNIX seconds, by a clock that may be set meanwhile.
    assert abs(found["began"] - time.time()) < 86_400


def test_two_processes_share_the_rate_and_begin_together(tmp_path):
    with Stub(script()) as stub:
        _, found = ran(tmp_path, stage(stub, "rest", processes=2, rate=60.0, arrivals="constant"))
    assert (found["offered"], found["ok"]) == (60, 60)
    assert len(found["cpu"]) == len(found["rss_mb"]) == 2
    assert all(10 < each < 150 for each in found["rss_mb"])


def test_requests_in_flight_stand_in_their_seconds(tmp_path):
    with Stub(script("silent")) as stub:
        running = Running(tmp_path, stage(stub, "rest"))
        running.wait_for_status(ok=0, offered=40)
        running.process.send_signal(signal.SIGINT)
        _, _, found = running.end()
    assert found["errors"] == {"interrupted": 40}
    assert max(row["open"] for row in found["seconds"]) == 40


def test_status_is_told_while_a_stage_runs(tmp_path):
    with Stub(script()) as stub:
        ran(tmp_path, stage(stub, "rest", duration_s=2.5, warmup_s=0.5))
    status = json.loads((tmp_path / "status.json").read_text())
    assert set(status) == {"t", "of", "phase", "offered", "ok", "errors", "late", "p99_us"}
    assert status["of"] == 3.0
    assert status["offered"] >= status["ok"] + status["errors"]


def test_the_servers_counters_are_read_before_and_after(tmp_path, monkeypatch):
    read = iter([{"OK": 5}, {"OK": 45}])
    asked = []
    monkeypatch.setattr(run_module.counters, "read", lambda target, models: asked.append(models) or next(read))
    with Stub(script()) as stub:
        spec = stage(stub, "rest")
        spec["target"]["metrics"] = "/metrics"
        _, found = ran(tmp_path, spec)
    assert found["counters"] == {"before": {"OK": 5}, "after": {"OK": 45}}
    assert asked == [["calibration"]] * 2


def test_a_server_ends_what_nobody_waits_for_before_its_counters_are_read(tmp_path, monkeypatch):
    read = iter([{"OK": 5}, {"OK": 10}, {"OK": 45}, {"OK": 45}])
    monkeypatch.setattr(run_module.counters, "read", lambda target, models: next(read))
    monkeypatch.setattr(run_module.counters, "PAUSE_S", 0.0)
    with Stub(script("silent")) as stub:
        spec = stage(stub, "rest", timeout_s=0.5)
        spec["target"]["metrics"] = "/metrics"
        _, found = ran(tmp_path, spec)
    assert found["errors"] == {"timeout": 40}
    assert found["counters"] == {"before": {"OK": 5}, "after": {"OK": 45}}


def test_counters_that_cannot_be_read_are_a_problem_and_no_failure(tmp_path, monkeypatch):
    def read(target, models):
        raise CountersError("the page is gone")

    monkeypatch.setattr(run_module.counters, "read", read)
    with Stub(script()) as stub:
        spec = stage(stub, "rest")
        spec["target"]["metrics"] = "/metrics"
        code, found = ran(tmp_path, spec)
    assert (code, found["counters"]) == (0, None)
    assert found["problems"] == ["the server's counters cannot be compared: the page is gone"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_stage_keeps_what_it_has(number, tmp_path):
    with Stub(script()) as stub:
        running = Running(tmp_path, stage(stub, "rest", duration_s=3600.0))
        running.wait_for_status()
        running.process.send_signal(number)
        code, _, found = running.end()
    assert code == 3
    assert found["problems"][0].startswith("interrupted after ")
    assert found["problems"][0].endswith(" s")
    assert found["ok"] >= 1


def test_a_worker_that_dies_ends_the_stage_with_a_sentence(tmp_path):
    with Stub(script()) as stub:
        running = Running(tmp_path, stage(stub, "rest", duration_s=3600.0, processes=2))
        running.wait_for_status()
        os.kill(running.workers()[0], signal.SIGKILL)
        code, said, found = running.end()
    assert code == 1
    assert "a process of the load generator died (signal 9)" in found["problems"]
    assert "a process of the load generator died (signal 9)\n" in said


def test_a_worker_that_hangs_is_ended_with_a_sentence(tmp_path, monkeypatch):
    late, clock = [], run_module.clock
    monkeypatch.setattr(run_module, "clock", lambda: clock() + sum(late))

    def hang():
        until(lambda: told(tmp_path))
        (worker,) = (each for each in multiprocessing.active_children() if each.pid != stub.process.pid)
        os.kill(worker.pid, signal.SIGSTOP)
        late.append(1e6)

    with Stub(script()) as stub:
        threading.Thread(target=hang, daemon=True).start()
        code, found = ran(tmp_path, stage(stub, "rest", duration_s=3600.0))
    assert (code, found["problems"]) == (1, ["a process of the load generator did not end in time"])
    assert found["ok"] >= 1


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    with Stub(script()) as stub:
        running = Running(tmp_path, stage(stub, "rest", duration_s=3600.0))
        running.wait_for_status()
        (worker,) = running.workers()
        running.process.kill()
        running.process.communicate()
        until(lambda: not _runs(worker))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_more_processes_than_cpus_are_a_problem_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module.os, "sched_getaffinity", lambda pid: {0})
    with Stub(script()) as stub:
        _, found = ran(tmp_path, stage(stub, "rest", processes=2))
    assert found["problems"] == ["2 processes of the load generator share 1 CPUs"]


def test_a_key_that_is_not_there_is_one_sentence(tmp_path, capsys):
    with Stub(script()) as stub:
        spec = stage(stub, "grpc")
        spec["target"]["tls"] = {"ca": None, "name": None, "certificate": "PEM", "key_file": "/nonexistent/key"}
        code, found = ran(tmp_path, spec)
    assert code == 1
    assert found["problems"] == ["the certificates and the key of target.tls cannot be used: no such file or directory"]
    assert capsys.readouterr().err == found["problems"][0] + "\n"


def test_a_description_that_is_wrong_is_one_sentence_and_exit_2(tmp_path, capsys):
    path = tmp_path / "spec.json"
    path.write_text("{}")
    assert run_module.run(path, tmp_path / "out") == 2
    assert capsys.readouterr().err == "schema must be 1\n"


def test_a_folder_that_cannot_be_written_is_one_sentence_and_exit_2(tmp_path, capsys):
    with Stub(script()) as stub:
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(stage(stub, "rest")))
    assert run_module.run(path, path / "out") == 2
    assert capsys.readouterr().err == f"{path / 'out'} cannot be written: not a directory\n"
