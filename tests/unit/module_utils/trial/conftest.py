# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host with one instance that serves its plan, before any trial."""

from __future__ import annotations

from functools import partial

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import watch as serving_watch
from serving_double import Clock, FakeServer, Model, publish
from trial_host import TrialHost


@pytest.fixture
def server():
    with FakeServer(m=Model({1: "AVAILABLE"})) as server:
        yield server


@pytest.fixture
def host(tmp_path, server, monkeypatch):
    publish(tmp_path / "models", 1)
    # The stand-in for the server listens in this very process.
    monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_arguments: "")
    clock = Clock()
    monkeypatch.setattr(serving_watch, "wait", partial(serving_watch.wait, now=clock.now, sleep=clock.sleep))
    host = TrialHost(tmp_path)
    host.boot(server.port)
    return host
