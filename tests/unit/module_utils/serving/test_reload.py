# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One gRPC call in plain bytes, read back by a library for HTTP/2, and servers that do not answer as they should."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import reload
from patience import LONG_S
from serving_double import HostileServer

CONFIG = {
    "name": "ranker",
    "base_path": "/models/ranker",
    "model_platform": "tensorflow",
    "model_version_policy": {"specific": {"versions": [7]}},
    "version_labels": {"stable": "7"},
}


def listed(*configs):
    return {"model_config_list": {"config": list(configs)}}


class Grpc(threading.Thread):
    """Answers one call as gRPC's server does; ``headers`` and ``body`` are what came."""

    def __init__(self, status="0"):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.status, self.headers, self.body = status, {}, b""
        self.start()

    def run(self):
        h2 = pytest.importorskip("h2")
        from h2 import config, connection, events

        assert h2
        wire = self.listener.accept()[0]
        wire.settimeout(LONG_S)
        speaker = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
        speaker.initiate_connection()
        speaker.ping(b"12345678")
        wire.sendall(speaker.data_to_send())
        ended = False
        while not ended:
            for event in speaker.receive_data(wire.recv(65536)):
                if isinstance(event, events.RequestReceived):
                    self.headers = dict(event.headers)
                elif isinstance(event, events.DataReceived):
                    self.body += event.data
                elif isinstance(event, events.StreamEnded):
                    speaker.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
                    speaker.send_data(1, b"\0\0\0\0\0")
                    speaker.send_headers(1, [("grpc-status", self.status)], end_stream=True)
                    ended = True
            wire.sendall(speaker.data_to_send())
        # Closing with something unread would take the answer back.
        while wire.recv(65536):
            pass
        wire.close()


def test_a_server_is_asked_to_take_in_its_configuration():
    pytest.importorskip("h2")
    server = Grpc()
    assert reload.asked(server.port, listed(CONFIG), LONG_S)
    server.join(LONG_S)
    assert server.headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        ":authority": f"127.0.0.1:{server.port}",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    message = reload.request(listed(CONFIG))
    assert server.body == b"\0" + len(message).to_bytes(4, "big") + message


def test_a_message_of_several_frames_arrives_whole():
    pytest.importorskip("h2")
    server = Grpc()
    many = listed(*({**CONFIG, "name": f"ranker{number}"} for number in range(600)))
    assert reload.asked(server.port, many, LONG_S)
    server.join(LONG_S)
    assert server.body[5:] == reload.request(many)
    assert len(server.body) > 2 * 16384


def test_the_message_is_one_that_protobuf_reads():
    # Read back by tensorflow-serving-api 2.19: a label, the policy and the three texts of one model.
    model = (
        b"\x0a\x06ranker\x12\x0e/models/ranker\x22\x0atensorflow"
        b"\x3a\x05\xb2\x06\x02\x08\x07"
        b"\x42\x0a\x0a\x06stable\x10\x07"
    )
    assert reload.request(listed(CONFIG)) == b"\x0a\x3b\x0a\x39\x0a\x37" + model


@pytest.mark.parametrize(
    "config",
    [
        {},
        listed(),
        {**listed(CONFIG), "more": 1},
        listed({**CONFIG, "logging_config": {}}),
        listed({**CONFIG, "model_version_policy": {"latest": {"num_versions": 2}}}),
        listed(CONFIG, {**CONFIG, "model_version_policy": {"all": {}}}),
        listed(*([{**CONFIG, "base_path": "/" + "x" * 100}] * 1000)),
    ],
)
def test_what_is_not_wholly_known_or_too_long_is_not_sent(config):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.settimeout(0.01)
        assert not reload.asked(nobody.getsockname()[1], config)
        with pytest.raises(TimeoutError):
            nobody.accept()


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"\0\0\0\7\0\0\0\0\0"],  # GOAWAY
        [b"\0\0\4\3\0\0\0\0\1\0\0\0\2"],  # RST_STREAM
        [b"\0\0\0\1\1\0\0\0\3"],  # the end of another stream
        [b"\xff\xff\xff\0\0\0\0\0\0" + b"x" * 65536] * 64,
    ],
)
def test_a_server_that_answers_with_something_else_is_no_error(chunks):
    with HostileServer(chunks) as server:
        assert reload.asked(server.port, listed(CONFIG), LONG_S) is False


def test_a_server_that_does_not_answer_is_waited_for_in_bounded_time():
    with HostileServer([b""] * 2, pause_s=LONG_S) as server:
        assert reload.asked(server.port, listed(CONFIG), 0.2) is False


def test_a_port_that_nobody_has_is_no_error():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert reload.asked(port, listed(CONFIG), LONG_S) is False
