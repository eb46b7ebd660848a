# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""h2load as an engine: its command, its log, and what its result does not claim to know."""

from __future__ import annotations

import base64
import json
import signal
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import counters, h2load, h2load_command, h2load_log
from ansible_collections.tfserving.fleet.plugins.module_utils.load.h2load_log import Due
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.load.tally import Series
from hypothesis import given
from hypothesis import strategies as st

T0 = 1_795_705_458_000_000
MESSAGE, JSON = b"\x0a\x03abc", b'{"instances": [1]}'

# A stand-in that takes the options of h2load and writes a log: a line for each of the requests, 1 ms apart, of 200 us.
FAKE = f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
options = dict(each[2:].split("=", 1) for each in sys.argv[1:] if each.startswith("--") and "=" in each)
place = Path(__file__).parent
(place / f"seen-{{os.path.basename(options['log-file'])}}.json").write_text(json.dumps(sys.argv[1:]))
plan = json.loads((place / "plan.json").read_text())
with open(options["log-file"], "w") as log:
    for number in range(plan.get("rows", int(options["requests"]))):
        status = plan.get("statuses", {{}}).get(str(number), 200)
        log.write(f"{{{T0} + number * 1000}}\\t{{status}}\\t200\\n")
    log.write(plan.get("end", ""))
print("finished in 1.00s\\n" + plan.get("words", "requests: done"))
sys.stdout.flush()
if plan.get("hang"):
    time.sleep(3600)
sys.exit(plan.get("code", 0))
"""


def stage(**changes):
    request = {
        "model": "ranker",
        "signature": "serving_default",
        "path": "/v1/models/ranker:predict",
        "rest": base64.b64encode(JSON).decode(),
        "grpc": base64.b64encode(MESSAGE).decode(),
        "weight": 1.0,
        "items": 8,
        "expect": None,
    }
    return {
        "schema": 1,
        "engine": "h2load",
        "protocol": "grpc",
        "target": {"host": "10.0.0.5", "grpc": 8500, "rest": 8501, "tls": None, "metrics": "/metrics"},
        "requests": [request],
        "rate": 1000.0,
        "arrivals": "constant",
        "seed": 1,
        "warmup_s": 0.1,
        "duration_s": 0.4,
        "processes": 1,
        "connections": 4,
        "timeout_s": 10.0,
        "start_in_s": 0.5,
        **changes,
    }


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A host with the stand-in for h2load, and a server whose counters are written down."""
    program = tmp_path / "bin" / "h2load"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(h2load, "LOOK_S", 0.01)
    pages = [{"OK": 10}, {"OK": 510}]
    monkeypatch.setattr(counters, "read", lambda _target, _models: pages.pop(0))
    return tmp_path, pages


def result(place, spec=None, **plan):
    (place[0] / "bin" / "plan.json").write_text(json.dumps(plan))
    told = []
    return h2load.measure(spec or stage(), place[0] / "out", told.append), told


def seen(place, number=0):
    return json.loads((place[0] / "bin" / f"seen-h2load-{number}.log.json").read_text())


# --- the command ---------------------------------------------------------------------------------------------


def command(**changes):
    spec = stage(**changes)
    return h2load_command.command(spec, spec["requests"][0], h2load_command.planned(spec, 8), "body", "log")


def test_the_command_for_grpc():
    assert command() == [
        *("h2load", "--clients=10", "--threads=1", "--requests=500", "--rps=100.000000"),
        *("--rate=1", "--rate-period=1ms", "--max-concurrent-streams=1000", "--connection-inactivity-timeout=11s"),
        *("--data=body", "--log-file=log", "--header=content-type: application/grpc", "--header=te: trailers"),
        *("--header=grpc-timeout: 10000m", "http://10.0.0.5:8500/tensorflow.serving.PredictionService/Predict"),
    ]


def test_the_command_for_rest():
    assert command(protocol="rest") == [
        *("h2load", "--clients=100", "--threads=1", "--requests=500", "--rps=10.000000"),
        *("--rate=1", "--rate-period=1ms", "--max-concurrent-streams=1", "--h1"),
        *("--connection-inactivity-timeout=11s", "--data=body", "--log-file=log"),
        *("--header=content-type: application/json", "http://10.0.0.5:8501/v1/models/ranker:predict"),
    ]


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ({"host": "::1"}, ["http://[::1]:8500/"]),
        ({"tls": {"ca": None, "name": None, "certificate": None}}, ["https://10.0.0.5:8500/"]),
        ({"tls": {"name": "ranker.example"}}, ["--connect-to=10.0.0.5:8500", "https://ranker.example:8500/"]),
    ],
)
def test_addresses_and_names_of_tls(target, address):
    found = command(target={**stage()["target"], **target})[-len(address) :]
    assert [each.replace("tensorflow.serving.PredictionService/Predict", "") for each in found] == address


def test_a_rate_is_shared_between_processes_and_connections():
    plan = h2load_command.planned(stage(rate=30000.0, processes=2, warmup_s=5.0, duration_s=60.0), 8)
    assert (plan.due.rate, plan.due.count, plan.connections, plan.due.seconds) == (15000.0, 975000, 150, 65.0)
    assert h2load_command.planned(stage(rate=2.0), 8).connections == 1  # one request, so no second connection
    assert (
        h2load_command.planned(stage(rate=90000.0, protocol="rest"), 8).connections == h2load_command.MOST_CONNECTIONS
    )


@pytest.mark.parametrize(
    ("rate", "connections", "pace"),
    [
        (1000, 10, (1, 1)),
        (500, 5, (1, 2)),
        (1500, 15, (3, 2)),
        (20000, 200, (20, 1)),
        (3, 4, (1, 333)),
        (9000, 4, (4, 1)),
    ],
)
def test_connections_begin_as_evenly_as_requests_are_due(rate, connections, pace):
    assert h2load_command.pace(rate, connections) == pace


@given(st.floats(0.5, 50000), st.integers(1, 900))
def test_h2load_accepts_every_pace(rate, connections):
    count, period = h2load_command.pace(rate, connections)
    assert 1 <= count <= connections
    assert period >= 1


def test_a_body_for_grpc_has_its_frame():
    assert h2load_command.body_of("grpc", stage()["requests"][0]) == b"\x00\x00\x00\x00\x05" + MESSAGE
    assert h2load_command.body_of("rest", stage()["requests"][0]) == JSON


# --- the log -------------------------------------------------------------------------------------------------


def read(tmp_path, lines, due, began=T0):
    """Return what a log says, and its rows over time."""
    log = tmp_path / "log"
    log.write_text("".join(f"{start}\t{status}\t{duration}\n" for start, status, duration in lines))
    series = Series()
    return h2load_log.count(str(log), due, h2load_log.first(str(log)), began, series), list(series.rows())


def test_latency_counts_from_the_moment_at_which_a_request_was_due(tmp_path):
    # 1,000/s; after five requests the generator stalls for 100 ms and then sends what has piled up.
    on_time = [(T0 + n * 1000, 200, 300) for n in range(5)]
    piled_up = [(T0 + 105_000 + n, 200, 300) for n in range(100)]
    found, _ = read(tmp_path, [*on_time, *piled_up], Due(1000.0, 105, 3.0, 0.0, 10.0, 1))
    # The first that was held up was due at 5 ms, and is on time until 6 ms; it ends at 105.3 ms.
    assert found.measured.histogram.max == 99_300
    assert found.measured.histogram.min == 300
    assert found.measured.late == 99  # all that were held up but the last one, due at 104 ms
    assert (found.measured.offered, found.measured.ok, found.unsent) == (105, 105, 0)


def test_the_order_of_the_log_is_that_of_the_ends_and_does_not_matter(tmp_path):
    lines = [(T0 + n * 10_000, 200, 500 - n) for n in range(50)]
    forth, _ = read(tmp_path, lines, Due(100.0, 50, 3.0, 0.0, 10.0, 1))
    back, _ = read(tmp_path, lines[::-1], Due(100.0, 50, 3.0, 0.0, 10.0, 1))
    assert forth == back
    assert (forth.measured.histogram.min, forth.measured.histogram.max) == (451, 500)


def test_replies_are_judged_by_status_and_time(tmp_path):
    lines = [(T0, 200, 100), (T0 + 1000, 503, 100), (T0 + 2000, -1, 100), (T0 + 3000, 200, 2_000_001), (T0, 302, 1)]
    found, _ = read(tmp_path, lines, Due(1000.0, 5, 3.0, 0.0, 2.0, 7))
    assert found.measured.errors == {"HTTP 503": 1, "connection": 1, "timeout": 1, "HTTP 302": 1}
    assert (found.measured.ok, found.measured.answered, found.measured.sent, found.measured.items) == (1, 4, 5, 7)


def test_the_warm_up_counts_over_time_and_not_in_the_whole(tmp_path):
    lines = [(T0 + n * 100_000, 200, 100) for n in range(30)]
    found, steps = read(tmp_path, lines, Due(10.0, 30, 3.0, 1.0, 2.0, 1))
    assert (found.warm.offered, found.measured.offered) == (10, 20)
    assert [(step["t"], step["offered"], step["ok"]) for step in steps] == [(0, 10, 10), (1, 10, 10), (2, 10, 10)]


def test_requests_in_flight_are_told_by_the_second(tmp_path):
    lines = [(T0 + 100_000, 200, 100), (T0 + 500_000, 200, 2_000_000), (T0 + 900_000, 200, 1_300_000)]
    _, steps = read(tmp_path, lines, Due(3.0, 3, 3.0, 0.0, 9.0, 1))
    assert [step["open"] for step in steps] == [2, 2, 0]


def test_requests_without_a_line_are_errors_of_the_end(tmp_path):
    found, steps = read(tmp_path, [(T0 + n * 100_000, 200, 100) for n in range(15)], Due(10.0, 20, 3.0, 1.0, 2.0, 1))
    assert found.unsent == 5
    assert found.measured.errors == {"connection": 5}
    assert (found.measured.offered, found.measured.sent) == (10, 5)
    assert [step["errors"] for step in steps] == [0, 5]


def test_an_empty_log_is_a_run_without_a_connection(tmp_path):
    found, _ = read(tmp_path, [], Due(10.0, 20, 3.0, 1.0, 2.0, 1))
    assert (found.warm.errors, found.measured.errors) == ({"connection": 10}, {"connection": 10})


@pytest.mark.parametrize("line", [b"", b"\n", b"1\t2\n", b"a\tb\tc\n", b"1\t200\t3", b"0\t200\t3\n", b"5\t200\t-3\n"])
def test_what_is_no_line_is_none(line):
    assert h2load_log.row(line) is None


def test_lines_of_another_time_are_unreadable(tmp_path):
    found, _ = read(tmp_path, [(T0, 200, 1), (T0 + 10**12, 200, 1)], Due(10.0, 2, 3.0, 0.0, 2.0, 1))
    assert (found.unreadable, found.measured.ok, found.unsent) == (1, 1, 1)


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path, monkeypatch):
    handed = []
    monkeypatch.setattr(h2load_log, "HANDED_OVER", 10)
    monkeypatch.setattr(Series, "add", lambda _self, second, count: handed.append((second, count.offered)))
    read(tmp_path, [(T0 + n * 100_000, 200, 100) for n in range(30)], Due(10.0, 30, 3.0, 0.0, 2.0, 1))
    assert handed == [(0, 10), (1, 10), (2, 10)]


# --- a run ---------------------------------------------------------------------------------------------------


def test_a_run_has_the_result_of_a_stage(place):
    found, told = result(place)
    assert {key: found[key] for key in ("schema", "engine", "protocol", "warmup_s", "duration_s", "rate")} == {
        "schema": 1,
        "engine": "h2load",
        "protocol": "grpc",
        "warmup_s": 0.1,
        "duration_s": 0.4,
        "rate": 1000.0,
    }
    assert found["began"] == T0 / 1e6
    assert (found["offered"], found["sent"], found["answered"], found["ok"]) == (400, 400, 400, 400)
    assert (found["errors"], found["late"], found["items"]) == ({}, 0, 3200)
    assert found["all"] == {"sent": 500, "ok": 500}
    assert found["counters"] == {"before": {"OK": 10}, "after": {"OK": 510}}
    latencies = Histogram.from_json(found["histogram"])
    assert (latencies.total, latencies.min, latencies.max) == (400, 200, 200)
    assert [row["offered"] for row in found["seconds"]] == [500]
    assert len(found["cpu"]) == len(found["rss_mb"]) == 1
    assert all(value > 0 for value in found["rss_mb"])
    assert found["problems"] == ["h2load does not look into replies, so neither outputs nor values are checked"]
    assert json.dumps(found)
    assert {key: told[-1][key] for key in ("of", "offered", "ok", "errors", "late", "p99_us")} == {
        "of": 0.5,
        "offered": 500,
        "ok": 500,
        "errors": 0,
        "late": None,
        "p99_us": 200,
    }


def test_logs_are_removed_and_the_body_is_the_request(place):
    result(place)
    assert sorted(path.name for path in (place[0] / "out").iterdir()) == ["h2load-0.txt", "h2load.body"]
    assert (place[0] / "out" / "h2load.body").read_bytes() == b"\x00\x00\x00\x00\x05" + MESSAGE


def test_processes_share_the_work_and_their_results_are_added(place):
    found, _ = result(place, stage(processes=2))
    # The stand-in sends twice as fast as it should, and what is sent early counts from then: 100 of 250 in the warm-up.
    assert (found["offered"], found["all"]["sent"], len(found["cpu"])) == (300, 500, 2)
    assert "--requests=250" in seen(place, 0)
    assert "--requests=250" in seen(place, 1)


def test_the_request_of_the_largest_weight_is_sent(place):
    light = stage()["requests"][0]
    heavy = {**light, "weight": 3.0, "items": 5, "grpc": base64.b64encode(b"heavy").decode()}
    found, _ = result(place, stage(requests=[light, heavy, light]))
    assert (place[0] / "out" / "h2load.body").read_bytes().endswith(b"heavy")
    assert found["items"] == 2000
    assert "h2load sends one body: request 2 of 3, the one of the largest weight" in found["problems"]


def test_what_h2load_cannot_do_is_told(place):
    target = {**stage()["target"], "tls": {"name": "a", "ca": None, "certificate": None}}
    found, _ = result(place, stage(arrivals="poisson", target=target))
    assert "h2load sends at constant intervals, not with Poisson arrivals" in found["problems"]
    assert "h2load does not check the server's certificate" in found["problems"]


def test_failures_within_grpc_are_found_by_the_counts_of_the_server(place):
    place[1][1] = {"OK": 460, "UNAVAILABLE": 50}
    found, _ = result(place)
    assert found["errors"] == {"grpc_failures": 50}
    assert (found["ok"], found["items"], found["all"]) == (350, 2800, {"sent": 500, "ok": 450})
    assert found["problems"][-1].startswith("50 requests failed within gRPC by the server's counts")


def test_failures_of_other_callers_are_at_most_all_requests(place):
    place[1][1] = {"OK": 10, "NOT_FOUND": 99999}
    found, _ = result(place)
    assert (found["ok"], found["all"]["ok"], found["errors"]) == (0, 0, {"grpc_failures": 400})


def test_over_rest_the_status_tells_failures(place):
    place[1][1] = {"OK": 508, "UNAVAILABLE": 2}
    found, _ = result(place, stage(protocol="rest"), statuses={"200": 503, "201": 503})
    assert (found["errors"], found["ok"]) == ({"HTTP 503": 2}, 398)


def test_the_server_ends_what_nobody_waits_for_before_it_is_asked_for_its_counts(place, monkeypatch):
    monkeypatch.setattr(counters, "PAUSE_S", 0.0)
    place[1][1:] = [{"OK": 400}, {"OK": 510}, {"OK": 510}]
    found, _ = result(place, statuses={"200": -1})
    assert (found["errors"], found["sent"] - found["answered"]) == ({"connection": 1}, 1)
    assert found["counters"] == {"before": {"OK": 10}, "after": {"OK": 510}}


def test_counts_that_cannot_be_read_are_told(place, monkeypatch):
    def unreadable(_target, _models):
        raise counters.CountersError("the page of metrics at port 8501 cannot be read (timed out)")

    monkeypatch.setattr(counters, "read", unreadable)
    found, _ = result(place)
    assert found["counters"] is None
    assert found["problems"][1:] == [
        "the page of metrics at port 8501 cannot be read (timed out)",
        "requests that failed within gRPC count as good ones, since the server's counts are not known",
    ]
    without = stage(target={**stage()["target"], "metrics": None})
    assert "the server has no page of metrics, so its counts are not compared" in result(place, without)[0]["problems"]


def test_connections_that_broke_are_told(place):
    found, _ = result(place, rows=450, end="17957054584")
    assert (found["errors"], found["offered"], found["ok"]) == ({"connection": 50}, 400, 350)
    assert found["problems"][1].startswith("50 requests have no reply or were never sent")
    assert found["problems"][2] == "1 lines of h2load's log cannot be read"


def test_a_failed_h2load_says_why(place):
    found, _ = result(place, rows=0, code=1, words="h2load: \x1b[31mno such option")
    assert r"h2load ended with 1: h2load: \x1b[31mno such option" in found["problems"]
    assert (found["ok"], found["errors"]) == (0, {"connection": 400})


def test_an_h2load_that_does_not_end_is_ended(place, monkeypatch):
    moments = iter(range(0, 100_000, 30))
    monkeypatch.setattr(h2load.time, "monotonic", lambda: float(next(moments)))
    found, _ = result(place, hang=True)
    assert "h2load did not end in time and was ended" in found["problems"]


def test_a_run_that_is_stopped_has_the_result_so_far(place):
    (place[0] / "bin" / "plan.json").write_text(json.dumps({"hang": True, "rows": 300}))
    told = []
    found = h2load.measure(stage(), place[0] / "out", told.append, lambda: bool(told) and told[-1]["offered"] == 300)
    assert (found["offered"], found["ok"], found["errors"]) == (200, 200, {})
    assert found["problems"][1].startswith("interrupted after")


def test_h2load_is_ended_when_the_run_is_interrupted(place, monkeypatch):
    (place[0] / "bin" / "plan.json").write_text('{"hang": true}')
    started = []
    start = h2load._start
    monkeypatch.setattr(h2load, "_start", lambda *each: started.append(start(*each)) or started[-1])

    def interrupt(_status):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        h2load.measure(stage(), place[0] / "out", interrupt)
    assert started[0].ended
    assert not Path(f"/proc/{started[0].handle.pid}").exists()


def test_the_program_writes_status_and_result(place):
    (place[0] / "bin" / "plan.json").write_text("{}")
    handler = signal.getsignal(signal.SIGTERM)
    out = place[0] / "out"
    assert h2load.run(stage(), out) == 0
    assert json.loads((out / "result.json").read_text())["ok"] == 400
    assert json.loads((out / "status.json").read_text())["offered"] == 500
    assert not list(out.glob(".*"))
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_signal_ends_the_run_with_the_result_so_far(place, monkeypatch):
    (place[0] / "bin" / "plan.json").write_text('{"hang": true, "rows": 300}')
    put = h2load.write_status

    def interrupted(path, content):
        put(path, content)
        if content.get("offered") == 300:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(h2load, "write_status", interrupted)
    assert h2load.run(stage(), place[0] / "out") == 3
    found = json.loads((place[0] / "out" / "result.json").read_text())
    assert (found["ok"], found["errors"]) == (200, {})


def test_the_program_refuses_in_one_sentence(place, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert h2load.run(stage(), place[0] / "out") == 2
    assert capsys.readouterr().err == "h2load is not on this host; install the package nghttp2-client\n"
    assert not list((place[0] / "out").iterdir())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate": 1e6, "duration_s": 3600.0}, "a log of 3600100000 requests is too large"),
        (
            {"target": {**stage()["target"], "tls": {"certificate": "PEM"}}},
            "h2load presents no certificate to a server; use the own engine",
        ),
        (
            {"protocol": "rest", "requests": [{**stage()["requests"][0], "rest": None}]},
            "the request cannot be sent over REST; use gRPC",
        ),
    ],
)
def test_a_stage_that_h2load_cannot_run_is_refused(place, changes, sentence):
    with pytest.raises(h2load_command.H2loadError, match=sentence):
        result(place, stage(**changes))


def test_a_host_without_h2load_is_told_the_package(place, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        h2load_command.H2loadError, match="h2load is not on this host; install the package nghttp2-client"
    ):
        result(place)
