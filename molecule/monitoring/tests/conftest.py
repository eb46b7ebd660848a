# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The monitoring hosts, the mails that they send, and traffic to watch."""

from __future__ import annotations

import subprocess

import callers
import pytest
from callers import Traffic
from mail_sink import Sink
from watched import BRIDGE, EDGE, WATCHERS, Watcher


@pytest.fixture(scope="session")
def watchers():
    return [Watcher(name, address) for name, address in callers.addresses(WATCHERS).items()]


@pytest.fixture(scope="session")
def watcher(watchers):
    return watchers[0]


@pytest.fixture(params=WATCHERS)
def each_watcher(request, watchers):
    """Each monitoring host in turn."""
    return next(watcher for watcher in watchers if watcher.name == request.param)


@pytest.fixture(scope="session")
def gateways():
    return callers.addresses([EDGE])


@pytest.fixture(scope="session", autouse=True)
def mails():
    with Sink(subprocess.check_output(BRIDGE, text=True).strip()) as sink:
        yield sink


@pytest.fixture
def traffic(tmp_path, known):
    """Requests that flow while a test does something else."""
    wanted = known("digits")
    return Traffic(tmp_path, {**wanted["request"], "expect": wanted["answers"]["1"]["predictions"]})
