# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every client in clients/ does what each vector says, against a small server of models over real gRPC."""

from __future__ import annotations

import base64
import json

import client_programs
import piece_server
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import shards
from real_protos import message_class
from repository import REPOSITORY

VECTORS = json.loads((REPOSITORY / "clients" / "vectors.json").read_text(encoding="utf-8"))
SIZES = [pytest.param(each, id=each["name"]) for each in VECTORS["sizes"]]
REQUESTS = [pytest.param(each, id=each["name"]) for each in VECTORS["requests"]]
TIMEOUT_MS = 60_000


@pytest.fixture(scope="module", params=client_programs.CLIENTS)
def client(request, tmp_path_factory):
    """Return what calls one of the clients."""
    with client_programs.started(request.param, tmp_path_factory) as ask:
        yield ask


@pytest.mark.parametrize("vector", SIZES)
def test_a_client_cuts_into_the_sizes_of_the_vector(client, vector):
    sizes = client("sizes", vector["rows"], vector["size"], vector["free"])
    assert [int(each) for each in sizes] == vector["sizes"]


@pytest.mark.parametrize("vector", SIZES)
def test_the_benchmark_measures_the_same_cuts(vector):
    if vector["rows"]:
        assert shards.even(vector["rows"], len(vector["sizes"])) == vector["sizes"]


@pytest.mark.parametrize("vector", REQUESTS)
def test_a_client_sends_and_answers_as_the_vector_says(client, vector):
    channels, wanted_peers = vector.get("channels", 2), vector.get("peers")
    sent = base64.b64encode(piece_server.request(vector["request"]).SerializeToString()).decode()
    with piece_server.PieceServer(vector["server"], vector["calls"]) as server:
        limits = (vector["size"], vector["slots"], vector.get("timeout_ms", TIMEOUT_MS), vector.get("times", 1))
        found = client("predict", server.port, channels, *limits, sent)
        server.settled()
    assert [ended(each) for each in found] == [wanted(vector)] * vector.get("times", 1)
    assert sorted(server.calls, key=str) == sorted(map(tuple, vector["calls"]), key=str)
    assert sorted(server.ended) == vector.get("ended", [])
    assert server.metadata == vector.get("metadata", server.metadata)
    assert wanted_peers in (None, len(server.peers))
    # gRPC rounds the time that it tells a server; a deadline of its own would leave a piece all of it.
    slow_s = vector["server"].get("slow_s", 0)
    assert not slow_s or max(server.left_s[1:]) < server.left_s[0] - slow_s / 2


def wanted(vector):
    """Return how a request ends by its vector."""
    if "answer" not in vector:
        return {key: vector[key] for key in ("error", "refused") if key in vector}
    outputs = {name: str(piece_server.tensor(each)) for name, each in vector["answer"].items()}
    return {"outputs": outputs, "version": vector.get("version", 3)}


def ended(word):
    """Return how a request ended by the word of a driver."""
    kind, _, content = word.partition(":")
    if kind == "error":
        return {"error": content}
    if kind == "refused":
        return {"refused": base64.b64decode(content).decode()}
    answer = message_class("PredictResponse").FromString(base64.b64decode(content))
    outputs = {name: str(each) for name, each in answer.outputs.items()}
    return {"outputs": outputs, "version": answer.model_spec.version.value}
