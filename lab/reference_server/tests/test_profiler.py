# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The profiler: what a caller gets, and that it is closed where the flag says so."""

import threading
import time

import grpc
import pytest
from tfs_reference import profiler

ROWS = {"instances": [1.0, 2.0]}


def text(number, value):
    return bytes([number << 3 | 2, len(value)]) + value.encode()


def request(root, milliseconds=200):
    duration = bytes([9 << 3, milliseconds & 0x7F | 0x80, milliseconds >> 7])
    options = bytes([4 << 3 | 2, len(duration)]) + duration
    return options + text(5, str(root)) + text(6, "one") + text(7, "lab:1")


def call(server, method, data, timeout=60):
    return server.channel.unary_unary(f"/tensorflow.ProfilerService/{method}")(data, timeout=timeout)


@pytest.fixture
def under_load(server):
    """Sends requests until the test has ended, so that there is something to trace."""
    over = threading.Event()

    def send():
        while not over.is_set():
            server.predict("plus", ROWS)

    thread = threading.Thread(target=send)
    thread.start()
    yield server
    over.set()
    thread.join()


def test_a_trace_is_written_where_the_caller_says_and_shows_what_the_runtime_did(under_load, tmp_path):
    assert call(under_load, "Profile", request(tmp_path / "traces")) == b""
    trace = (tmp_path / "traces" / "one" / "lab_1.xplane.pb").read_bytes()
    assert not profiler.is_empty(trace)
    assert b"SessionRun" in trace or b"ExecutorState" in trace


def test_a_trace_without_events_is_told_as_empty():
    plane = text(2, "/host:CPU")
    assert profiler.is_empty(bytes([1 << 3 | 2, len(plane)]) + plane)
    assert profiler.is_empty(b"")


def test_a_place_that_cannot_be_written_is_an_error(server):
    with pytest.raises(grpc.RpcError) as raised:
        call(server, "Profile", request("/proc/nowhere", 1))
    assert raised.value.code() != grpc.StatusCode.OK
    assert "/proc/nowhere" in raised.value.details()


def test_a_capture_ends_when_it_is_terminated(server, tmp_path):
    ended = []
    long = threading.Thread(target=lambda: ended.append(call(server, "Profile", request(tmp_path, 16000))))
    long.start()
    while not ended:
        call(server, "Terminate", text(1, "one"))
        time.sleep(0.01)
    long.join()
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_monitor_is_not_implemented(server):
    with pytest.raises(grpc.RpcError) as raised:
        call(server, "Monitor", b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_server_without_the_profiler_knows_no_such_method(start, models, tmp_path):
    closed = start("--model_name=plus", f"--model_base_path={models}/plus", "--enable_profiler=false")
    with pytest.raises(grpc.RpcError) as raised:
        call(closed, "Profile", request(tmp_path, 1))
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not list(tmp_path.rglob("*.xplane.pb"))


def test_the_load_generator_asks_as_a_server_expects(under_load, tmp_path):
    from ansible_collections.tfserving.fleet.plugins.module_utils.load import trace

    target = {"host": "127.0.0.1", "grpc": under_load.grpc_port, "rest": under_load.rest_port, "tls": None}
    where = {"root": str(tmp_path), "session": "two", "host": "gpu-a01"}
    found = trace.answered({"target": target, "delay_s": 0.0, "duration_ms": 200, **where})
    assert found == {"status": "OK", "words": "", "empty": False}
    assert (tmp_path / "two" / "gpu-a01.xplane.pb").stat().st_size > 0
