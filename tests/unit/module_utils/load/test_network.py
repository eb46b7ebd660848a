# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What lies between a load host and a server is measured by connections, and by calls that ask nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import grpc
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import __main__ as program
from ansible_collections.tfserving.fleet.plugins.module_utils.load import grpc_calls, network
from ports import free_port


def ticking(step_s):
    """Return a clock that goes on by a step whenever it is read."""
    moments = count()
    return lambda: next(moments) * step_s


@pytest.fixture
def server():
    """A server that tells the states of the model m."""

    def states(request, context):
        # GetModelStatusRequest { model_spec { name: "m" } }
        return b"" if request == b"\x0a\x03\x0a\x01m" else context.abort(grpc.StatusCode.NOT_FOUND, "no model")

    made = grpc.server(futures.ThreadPoolExecutor(1))
    service, _slash, method = grpc_calls.STATUS[1:].partition("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(states)}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield {"host": "127.0.0.1", "grpc": port, "rest": port, "tls": None}
    made.stop(None)


@pytest.fixture
def http_server():
    """http_server(status) answers every request with a status."""
    made = []

    def answering(status):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args):
                pass

        made.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=made[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return {"host": "127.0.0.1", "rest": made[-1].server_port, "tls": None}

    yield answering
    for each in made:
        each.shutdown()
        each.server_close()


def test_each_connection_is_timed_by_itself():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = network.connects_ms("127.0.0.1", listening.getsockname()[1], ticking(0.002))
    assert found == pytest.approx([2.0] * 5)


def test_nobody_there_is_no_time():
    assert network.connects_ms("127.0.0.1", free_port()) == []
    assert network.calls_ms({"host": "127.0.0.1", "grpc": free_port(), "tls": None}, "grpc", "m", 20, 0) == []


def test_each_question_by_grpc_for_the_states_of_a_model_is_timed(server):
    assert network.calls_ms(server, "grpc", "m", 20, 0, ticking(0.003)) == pytest.approx([3.0] * 20)


def test_each_call_by_rest_for_a_path_that_nobody_has_is_timed(http_server):
    assert network.calls_ms(http_server(404), "rest", "m", 20, 0, ticking(0.003)) == pytest.approx([3.0] * 20)


def test_answers_of_other_kinds_are_not_timed(server, http_server):
    assert network.calls_ms(server, "grpc", "other", 20, 0) == []
    assert network.calls_ms(http_server(403), "rest", "m", 20, 0) == []


def test_a_call_counts_from_the_moment_at_which_it_is_due(http_server):
    assert network.calls_ms(http_server(404), "rest", "m", 20, 0.001, ticking(0.003)) == pytest.approx([2.0] * 20)


@pytest.mark.parametrize(("limit", "status"), [({}, "OK"), ({"reply_bytes": 1 << 20}, "RESOURCE_EXHAUSTED")])
def test_a_reply_that_is_larger_than_a_caller_takes_fails_at_the_caller(limit, status):
    served = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.max_send_message_length", -1)])
    port = served.add_insecure_port("127.0.0.1:0")
    large = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"x" * (2 << 20))
    service, _slash, method = grpc_calls.METHOD[1:].partition("/")
    served.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: large}),))
    served.start()

    async def called() -> str:
        channels = grpc_calls.Grpc({"host": "127.0.0.1", "grpc": port, "tls": None, **limit}, [b""], 1)
        try:
            await next(channels._methods)(b"")
        except grpc.aio.AioRpcError as error:
            return error.code().name
        finally:
            await channels.close()
        return "OK"

    assert asyncio.run(called()) == status
    served.stop(None)


def test_the_program_tells_both_as_json(server, http_server, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "watch", lambda _folder: None)
    question = tmp_path / "network.json"
    for protocol, target in (("grpc", server), ("rest", http_server(404))):
        question.write_text(
            json.dumps({"target": target, "protocol": protocol, "model": "m", "calls": 3, "pause_s": 0})
        )
        assert program.main(["network", str(question), str(tmp_path)]) == 0
        told = json.loads((tmp_path / "result.json").read_text())
        assert (len(told["connect_ms"]), len(told["call_ms"])) == (5, 3)
