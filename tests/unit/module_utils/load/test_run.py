# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages against the stub: known delays and faults are counted exactly, nothing is lost, and every end is clean."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import run as run_module
from ansible_collections.tfserving.fleet.plugins.module_utils.load.counters import CountersError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub import Stub
from load_stage import PROGRAM, ran, result, script, stage

BOTH = pytest.mark.parametrize("protocol", ["rest", "grpc"])
# A test that fails must not hang.
LIMIT_S = 120


@BOTH
def test_latencies_hold_the_known_delays(protocol, tmp_path):
    with Stub(script(("reply", 0.05), ("reply", 0.2))) as stub:
        code, found = ran(tmp_path, stage(stub, protocol))
        given = stub.ask()
    assert (code, found["problems"]) == (0, [])
    assert (found["offered"], found["sent"], found["answered"], found["ok"]) == (40, 40, 40, 40)
    histogram = Histogram.from_json(found["histogram"])
    assert histogram.min >= 50_000
    # No latency is shorter than the delay of its rank, as the stub measured it, but for the width of a bucket.
    assert all(histogram.at_rank(rank) >= given.delays.at_rank(rank) * 0.99 for rank in range(1, 41))
    assert histogram.share_over(190_000) >= 0.5


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
    acts = ["reply", "error", "reset", "close", "half", "malformed", "chunked", "pieces", "wrong", "silent"]
    with Stub(script(*acts)) as stub:
        code, found = ran(tmp_path, stage(stub, "rest", timeout_s=3.0))
        assert stub.ask().acts == dict.fromkeys(acts, 4)
    assert code == 0
    assert found["ok"] == 16
    assert found["errors"] == {"HTTP 503": 4, "connection": 8, "malformed": 4, "wrong_reply": 4, "timeout": 4}
    assert found["answered"] == 28


def test_faults_of_grpc_are_counted_exactly(tmp_path):
    acts = ["reply", "error", "stream_reset", "goaway", "wrong", "silent", "reply", "reply"]
    with Stub(script(*acts)) as stub:
        code, found = ran(tmp_path, stage(stub, "grpc", timeout_s=3.0))
        assert stub.ask().acts == {"reply": 15, **dict.fromkeys(acts[1:6], 5)}
    assert code == 0
    assert found["ok"] == 20
    assert found["errors"] == {"UNAVAILABLE": 5, "INTERNAL": 5, "wrong_reply": 5, "timeout": 5}


def test_a_reset_of_a_grpc_connection_is_an_error_of_the_connection(tmp_path):
    with Stub(script(*["reply"] * 9, "reset")) as stub:
        _, found = ran(tmp_path, stage(stub, "grpc", connections=1))
    assert set(found["errors"]) == {"connection"}
    assert found["errors"]["connection"] >= 4
    assert found["ok"] >= 20


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
    assert 0 < found["began"] - time.time() + LIMIT_S < LIMIT_S


def test_two_processes_share_the_rate_and_begin_together(tmp_path):
    with Stub(script()) as stub:
        _, found = ran(tmp_path, stage(stub, "rest", processes=2, rate=60.0, arrivals="constant"))
    assert (found["offered"], found["ok"]) == (60, 60)
    assert len(found["cpu"]) == len(found["rss_mb"]) == 2
    assert all(10 < each < 150 for each in found["rss_mb"])


def test_requests_in_flight_stand_in_their_seconds(tmp_path):
    with Stub(script("silent")) as stub:
        _, found = ran(tmp_path, stage(stub, "rest", timeout_s=3.0))
    assert found["errors"] == {"timeout": 40}
    assert [row["open"] for row in found["seconds"]][:2] == [40, 40]


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


class Running:
    """The program in a process of its own, until its first status is there."""

    def __init__(self, folder, spec):
        self.folder = folder
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", PROGRAM, "run", path, folder]
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)

    def wait_for_status(self):
        limit = time.monotonic() + LIMIT_S
        while not (self.folder / "status.json").exists() and time.monotonic() < limit:
            assert self.process.poll() is None
            time.sleep(0.02)

    def children(self):
        return [
            int(each) for each in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def workers(self):
        return [pid for pid in self.children() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def end(self):
        _, said = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, said, result(self.folder)


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
    monkeypatch.setattr(run_module, "OVERTIME_S", 0.5)

    def hang():
        limit = time.monotonic() + LIMIT_S
        while not (tmp_path / "status.json").exists() and time.monotonic() < limit:
            time.sleep(0.02)
        (worker,) = (each for each in multiprocessing.active_children() if each.pid != stub.process.pid)
        os.kill(worker.pid, signal.SIGSTOP)

    with Stub(script()) as stub:
        threading.Thread(target=hang).start()
        code, found = ran(tmp_path, stage(stub, "rest", duration_s=3.0, timeout_s=1.0))
    assert (code, found["problems"]) == (1, ["a process of the load generator did not end in time"])
    assert found["ok"] >= 1


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    with Stub(script()) as stub:
        running = Running(tmp_path, stage(stub, "rest", duration_s=3600.0))
        running.wait_for_status()
        (worker,) = running.workers()
        running.process.kill()
        running.process.communicate()
        limit = time.monotonic() + LIMIT_S
        while _runs(worker) and time.monotonic() < limit:
            time.sleep(0.02)
        assert not _runs(worker)


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
