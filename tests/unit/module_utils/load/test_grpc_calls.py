# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""gRPC's own failures are told from the server's, and a Python without grpc is told in one sentence."""

from __future__ import annotations

import importlib
import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import calibrate, grpc_calls
from ansible_collections.tfserving.fleet.plugins.module_utils.load.grpc_calls import MissingGrpcError, imported, word

MISSING = (
    "gRPC needs the Python package grpcio, 1.32 or newer, which this Python does not have: install it there, or "
    "measure by REST"
)


@pytest.mark.parametrize(
    ("status", "details", "counted"),
    [
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", "UNAVAILABLE"),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: Connection refused", "connection"),
        ("UNAVAILABLE", "Stream removed (recvmsg:Connection reset by peer (104))", "connection"),
        ("UNAVAILABLE", "Socket closed", "connection"),
        ("UNAVAILABLE", "Received http2 header with status: 503", "UNAVAILABLE"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "timeout"),
        ("DEADLINE_EXCEEDED", "the model took too long", "DEADLINE_EXCEEDED"),
        ("RESOURCE_EXHAUSTED", "", "RESOURCE_EXHAUSTED"),
        ("NOT_FOUND", "Servable not found for request: Latest(other)", "NOT_FOUND"),
    ],
)
def test_errors_are_counted_by_where_they_come_from(status, details, counted):
    assert word(status, details) == counted


@pytest.fixture
def without_grpc(monkeypatch):
    def no_grpc(name):
        raise ImportError(name)

    monkeypatch.setattr(grpc_calls, "import_module", no_grpc)


def test_a_python_without_grpc_is_told_in_a_sentence(without_grpc):
    with pytest.raises(MissingGrpcError) as found:
        imported()
    assert str(found.value) == MISSING


def test_a_calibration_without_grpc_says_so_and_goes_on(without_grpc, brief_calibration, tmp_path):
    assert calibrate.calibrate(tmp_path) == 0
    found = json.loads((tmp_path / "calibration.json").read_text())
    assert found["protocols"]["grpc"] == {"missing": MISSING}
    assert found["protocols"]["rest"]["requests_per_s_a_core"] > 0


def test_nothing_imports_grpc_before_it_is_needed():
    assert not hasattr(importlib.import_module(grpc_calls.__name__), "grpc")
