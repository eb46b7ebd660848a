# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""gRPC against gRPC's own server: bytes in and out, large replies, TLS, statuses, and a server that is restarted."""

from __future__ import annotations

import base64
import signal
import threading
from concurrent import futures
from contextlib import contextmanager
from itertools import count

import grpc
from ansible_collections.tfserving.fleet.plugins.module_utils.load import calibrate, messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.grpc_calls import METHOD
from certificates import self_signed
from load_stage import Running, ran, until
from ports import free_port

LARGE = messages.encode_response({"y": messages.Tensor("DT_FLOAT", (1_500_000,), [0.5] * 1_500_000)})


class Handler(grpc.GenericRpcHandler):
    """Answers Predict, and nothing else."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self._numbers = count(1)

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self._predict) if details.method == METHOD else None

    def _predict(self, request, context):
        self.requests.append(request)
        return self.answer(next(self._numbers), context)


@contextmanager
def serving(answer, *, port=0, pair=None, client_ca=None):
    """Run a server; give its port and its handler. With ``client_ca`` it asks its callers for certificates."""
    handler = Handler(answer)
    server = grpc.server(
        futures.ThreadPoolExecutor(4), handlers=[handler], options=[("grpc.max_send_message_length", -1)]
    )
    if pair is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        credentials = grpc.ssl_server_credentials([pair], client_ca, client_ca is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port, handler, server
    finally:
        server.stop(None).wait()


class Ports:
    """A place for a stage, as a stub is one."""

    rest = 1

    def __init__(self, grpc_port):
        self.grpc = grpc_port


def stage(port, **changes):
    return calibrate.stage(Ports(port), "grpc", **{"rate": 20.0, "duration_s": 1.0, **changes})


def small(number, context):
    return calibrate.GRPC_REPLY


def test_the_bytes_of_the_request_arrive_and_those_of_the_reply_come_back(tmp_path):
    body = messages.encode_request("ranker", "serving_default", {"x": messages.Tensor("DT_INT64", (2,), [7, -7])})
    with serving(small) as (port, handler, _):
        spec = stage(port)
        spec["requests"][0]["grpc"] = base64.b64encode(body).decode()
        code, found = ran(tmp_path, spec)
    assert (code, found["ok"], found["errors"]) == (0, 20, {})
    assert handler.requests == [body] * 20


def test_replies_beyond_grpcs_own_limit_are_taken(tmp_path):
    assert len(LARGE) > 4 * 1024 * 1024
    with serving(lambda number, context: LARGE) as (port, _, _):
        _, found = ran(tmp_path, stage(port, rate=4.0))
    assert (found["ok"], found["errors"]) == (4, {})


def test_statuses_of_the_server_are_counted_by_their_names(tmp_path):
    codes = [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]

    def answer(number, context):
        if number % 4:
            context.abort(codes[number % 4 - 1], "The batch scheduling queue is full")
        return calibrate.GRPC_REPLY

    with serving(answer) as (port, _, _):
        _, found = ran(tmp_path, stage(port))
    assert found["ok"] == 5
    assert found["errors"] == {"RESOURCE_EXHAUSTED": 5, "UNAVAILABLE": 5, "DEADLINE_EXCEEDED": 5}
    assert found["answered"] == 20


def test_tls_checks_the_name_that_is_given(tmp_path):
    certificate, key = self_signed("ranker.example")
    with serving(small, pair=(key, certificate)) as (port, _, _):
        spec = stage(port)
        spec["target"]["tls"] = {
            "ca": certificate.decode(),
            "name": "ranker.example",
            "certificate": None,
            "key_file": None,
        }
        _, found = ran(tmp_path, spec)
    assert (found["ok"], found["problems"]) == (20, [])


def test_a_server_that_asks_for_a_certificate_gets_that_of_the_caller(tmp_path):
    certificate, key = self_signed("ranker.example")
    callers, callers_key = self_signed("caller")
    file = tmp_path / "key.pem"
    file.write_bytes(callers_key)
    with serving(small, pair=(key, certificate), client_ca=callers) as (port, _, _):
        spec = stage(port)
        known = {"ca": certificate.decode(), "name": "ranker.example"}
        spec["target"]["tls"] = {**known, "certificate": callers.decode(), "key_file": str(file)}
        _, found = ran(tmp_path, spec)
    assert (found["ok"], found["problems"]) == (20, [])


def test_a_server_that_leaves_and_comes_back_is_counted_and_served_again(tmp_path):
    left = threading.Event()

    def leave(number, context):
        if number == 10:
            left.set()
        return calibrate.GRPC_REPLY

    # Held by this process: nobody else gets the port between the two servers.
    with serving(leave, port=free_port()) as (port, _, server):
        running = Running(tmp_path, stage(port, duration_s=3600.0, timeout_s=2.0))
        until(left.is_set)
        server.stop(grace=1.0).wait()
        with serving(small, port=port) as (_, second, _):
            until(lambda: len(second.requests) >= 20)
            running.process.send_signal(signal.SIGTERM)
            code, _, found = running.end()
    assert code == 3
    # All but those that the servers were still answering, 4 at a time each, and those that came after a time-out.
    assert found["ok"] >= 10
    assert set(found["errors"]) <= {"connection", "timeout", "not_sent", "UNAVAILABLE", "CANCELLED", "interrupted"}


def test_a_server_without_the_method_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "service", lambda self, details: None)
    with serving(small) as (port, _, _):
        _, found = ran(tmp_path, stage(port))
    assert found["errors"] == {"UNIMPLEMENTED": 20}
