# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of the load generator against its stub, run in this process but for their workers.

A machine that stands still for half a minute changes no count: neither requests nor connections nor workers run out of
time, but where a test says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

from ansible_collections.tfserving.fleet.plugins.module_utils.load import (
    __main__,
    calibrate,
    crew,
    grpc_calls,
    rest,
    run,
    worker,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub import Act, Script
from patience import LONG_S


def script(*acts, **more):
    """Return a script of acts, each a kind or a kind with its delay in s."""
    made = [Act(*act) if isinstance(act, tuple) else Act(act) for act in acts or ("reply",)]
    return Script(made, rest_reply=calibrate.REST_REPLY, grpc_reply=calibrate.GRPC_REPLY, **more)


def stage(stub, protocol, **changes):
    """Return a stage of 40 requests over one second."""
    return calibrate.stage(stub, protocol, **{"rate": 40.0, "duration_s": 1.0, "timeout_s": LONG_S, **changes})


def patient(pipe, job):
    """Do the work of a process, however long it takes to connect."""
    with patch.object(rest, "CONNECT_S", LONG_S), patch.object(grpc_calls, "CONNECT_S", LONG_S):
        worker.main(pipe, job)


def whole(arguments):
    """Run the whole program and return its exit code, with patient workers."""
    with patch.object(crew, "main", patient), patch.multiple(run, READY_S=LONG_S, OVERTIME_S=LONG_S):
        return __main__.main(arguments)


def command(spec, out):
    """Return the command that does the same in a process of its own; what it imports is found as it is here."""
    program = f"import sys; sys.path[:] = {sys.path!r}; import load_stage; sys.exit(load_stage.whole(sys.argv[1:]))"
    return [sys.executable, "-c", program, "run", str(spec), str(out)]


def ran(folder, spec):
    """Run a stage; return its exit code and its result, of which nothing may be lost."""
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    code = whole(["run", str(path), str(folder)])
    return code, result(folder)


def result(folder):
    found = json.loads(Path(folder, "result.json").read_text())
    lost = found["offered"] - found["ok"] - sum(found["errors"].values())
    # A worker that was killed or stopped may have had requests open; no other one has.
    is_cut = any(each.startswith("a process of the load generator ") for each in found["problems"])
    assert lost >= 0 if is_cut else lost == 0
    assert found["ok"] == sum(found["histogram"]["counts"].values())
    return found


class Running:
    """The program in a process of its own."""

    def __init__(self, folder, spec):
        self.folder = folder
        path = folder / "spec.json"
        path.write_text(json.dumps(spec))
        self.process = subprocess.Popen(command(path, folder), stderr=subprocess.PIPE, text=True)

    def wait_for_status(self, **least):
        """Wait until the status tells of so many requests; of one that was answered where nothing else is given."""
        until(lambda: told(self.folder, **least) or self.process.poll() is not None)
        assert self.process.poll() is None

    def children(self):
        return [
            int(each) for each in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def workers(self):
        return [pid for pid in self.children() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def end(self):
        _, said = self.process.communicate()
        return self.process.returncode, said, result(self.folder)


def until(condition):
    """Wait until ``condition`` holds; a test that hangs is ended from outside."""
    while not condition():
        time.sleep(0.02)


def told(folder, ok=1, offered=1):
    path = folder / "status.json"
    status = json.loads(path.read_text()) if path.exists() else {"ok": 0, "offered": 0}
    return status["ok"] >= ok and status["offered"] >= offered
