# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A trace is asked for as the profiler's service expects it, and what it answers is told."""

from __future__ import annotations

import json
from concurrent import futures

import grpc
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import __main__ as program
from ansible_collections.tfserving.fleet.plugins.module_utils.load import trace
from ports import free_port

WHERE = {"root": "/var/cache/tfserving/ranker/profile", "session": "5f5f", "host": "gpu-a01"}
# opts (4) with duration_ms (9) of 10000; repository_root (5), session_id (6), host_name (7): as protobuf writes them.
REQUEST = (
    b"\x22\x03\x48\x90\x4e" + b"\x2a\x23/var/cache/tfserving/ranker/profile" + b"\x32\x045f5f" + b"\x3a\x07gpu-a01"
)


class Profiler:
    """A server whose profiler gives a fixed answer; without one it has no profiler."""

    def __init__(self, answer: bytes | None = None, code: grpc.StatusCode | None = None) -> None:
        self.asked: list[bytes] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

        def profile(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append(request)
            if code:
                context.abort(code, "/var/cache/x; Permission denied")
            return answer or b""

        if answer is not None:
            handlers = {"Profile": grpc.unary_unary_rpc_method_handler(profile)}
            generic = grpc.method_handlers_generic_handler("tensorflow.ProfilerService", handlers)
            self.server.add_generic_rpc_handlers((generic,))

    def __enter__(self) -> Profiler:
        self.server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.stop(None)


def question(port):
    target = {"host": "127.0.0.1", "grpc": port, "rest": 1, "tls": None}
    return {"target": target, "delay_s": 0.0, "duration_ms": 10_000, **WHERE}


def test_the_request_is_written_as_protobuf_writes_it():
    assert trace.request(question(1)) == REQUEST


def test_a_trace_with_events_is_told_by_an_empty_reply():
    with Profiler(b"") as server:
        assert trace.answered(question(server.port)) == {"status": "OK", "words": "", "empty": False}
        assert server.asked == [REQUEST]


def test_a_trace_without_events_is_told():
    with Profiler(b"\x38\x01") as server:
        assert trace.answered(question(server.port))["empty"] is True


def test_a_server_without_a_profiler_does_not_know_the_method():
    with Profiler() as server:
        assert trace.answered(question(server.port))["status"] == "UNIMPLEMENTED"


def test_the_servers_own_words_come_back():
    with Profiler(b"", grpc.StatusCode.PERMISSION_DENIED) as server:
        found = trace.answered(question(server.port))
    assert found == {"status": "PERMISSION_DENIED", "words": "/var/cache/x; Permission denied", "empty": True}


def test_a_server_that_is_not_there_is_no_trace(monkeypatch):
    monkeypatch.setattr(trace, "CONNECT_S", 0.2)
    assert trace.answered(question(free_port()))["status"] == "UNAVAILABLE"


@pytest.mark.parametrize("to_file", [True, False])
def test_the_program_writes_its_answer_where_it_is_asked_to(tmp_path, capsys, to_file):
    with Profiler(b"") as server:
        (tmp_path / "question.json").write_text(json.dumps(question(server.port)))
        code = program.main(["trace", str(tmp_path / "question.json"), *([str(tmp_path)] if to_file else [])])
    said = (tmp_path / "result.json").read_text() if to_file else capsys.readouterr().out
    assert (code, json.loads(said)["status"]) == (0, "OK")


def test_without_grpc_it_says_what_is_missing(tmp_path, capsys, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(
        "ansible_collections.tfserving.fleet.plugins.module_utils.load.grpc_calls.import_module", missing
    )
    (tmp_path / "question.json").write_text(json.dumps(question(1)))
    assert program.main(["trace", str(tmp_path / "question.json")]) == 2
    assert "grpcio" in capsys.readouterr().err
