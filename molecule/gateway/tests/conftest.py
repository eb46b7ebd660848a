# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts of this scenario, and traffic through its gateways."""

from __future__ import annotations

import pytest
import testinfra
from callers import GATEWAYS, Traffic, addresses


@pytest.fixture(scope="session")
def on():
    """A host of the scenario by its name."""
    return lambda name: testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="session")
def gateways():
    """The address of each gateway."""
    return addresses(GATEWAYS)


@pytest.fixture
def traffic(tmp_path, known):
    """Requests that flow while a test does something else."""
    wanted = known("digits")
    return Traffic(tmp_path, {**wanted["request"], "expect": wanted["answers"]["1"]["predictions"]})
