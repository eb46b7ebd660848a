# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A calibration that is soon over, on a machine that may stand still."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import calibrate, grpc_calls, rest
from patience import LONG_S


@pytest.fixture
def brief_calibration(monkeypatch):
    """Send few requests, and let none of them run out of time."""
    stage = calibrate.stage
    for name, value in {"BURST": 200, "BURSTS": 1, "BLOCKS": 2}.items():
        monkeypatch.setattr(calibrate, name, value)
    monkeypatch.setattr(calibrate, "stage", lambda stub, protocol: stage(stub, protocol, timeout_s=LONG_S))
    for module in (rest, grpc_calls):
        monkeypatch.setattr(module, "CONNECT_S", LONG_S)
