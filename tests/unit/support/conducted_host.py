# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host whose instances a conductor brings up."""

from __future__ import annotations

from functools import partial

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import watch as serving_watch
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.conductor import Conductor
from serving_double import Clock, publish
from units_double import Host


def conductor(host, traffic=None, **params):
    """Make what the module makes of its parameters, for a host of the test."""
    defaults = {
        "instances": [], "state": "present", "models": [], "model_root": "/nowhere", "revision": "",
        "config_root": str(host.root / "etc"), "unit_template": "tfserving@{name}.service",
        "health_template": "tfserving-health@{name}.service", "tree": "t", "state_path": str(host.root / "state"),
        "final": True, "touched": [], "keep": [], "probe": False, "may_stop": True,
    }  # fmt: skip
    return Conductor({**defaults, **params}, host.run, check_mode=False, traffic=traffic)


@pytest.fixture
def host(tmp_path, monkeypatch):
    publish(tmp_path / "models", 1)
    # The stand-ins for servers listen in this very process.
    monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_arguments: "")
    # Of those that never come to serve, the whole of their time is waited for.
    clock = Clock()
    monkeypatch.setattr(serving_watch, "wait", partial(serving_watch.wait, now=clock.now, sleep=clock.sleep))
    host = Host(tmp_path)
    yield host
    host.close()
