# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of the load generator against its stub, run in this process but for their workers."""

from __future__ import annotations

import json

from ansible_collections.tfserving.fleet.plugins.module_utils.load import calibrate
from ansible_collections.tfserving.fleet.plugins.module_utils.load.run import run
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub import Act, Script

PROGRAM = "ansible_collections.tfserving.fleet.plugins.module_utils.load"


def script(*acts, **more):
    """Return a script of acts, each a kind or a kind with its delay in s."""
    made = [Act(*act) if isinstance(act, tuple) else Act(act) for act in acts or ("reply",)]
    return Script(made, rest_reply=calibrate.REST_REPLY, grpc_reply=calibrate.GRPC_REPLY, **more)


def stage(stub, protocol, **changes):
    """Return a stage of 40 requests over one second."""
    return calibrate.stage(stub, protocol, **{"rate": 40.0, "duration_s": 1.0, **changes})


def ran(folder, spec):
    """Run a stage; return its exit code and its result, of which nothing may be lost."""
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    code = run(path, folder)
    return code, result(folder)


def result(folder):
    found = json.loads((folder / "result.json").read_text())
    assert found["offered"] == found["ok"] + sum(found["errors"].values())
    assert found["ok"] == sum(found["histogram"]["counts"].values())
    return found
