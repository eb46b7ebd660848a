# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Traffic through the gateways of this scenario."""

from __future__ import annotations

import pytest
from callers import Traffic


@pytest.fixture
def traffic(tmp_path, known):
    """Requests that flow while a test does something else."""
    wanted = known("digits")
    return Traffic(tmp_path, {**wanted["request"], "expect": wanted["answers"]["1"]["predictions"]})
