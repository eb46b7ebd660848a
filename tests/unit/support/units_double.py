# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host with units for instances: systemctl in front of real processes, each with a stand-in for its REST port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

from serving_double import FakeServer, Handler, Model


class ServerAt(FakeServer):
    """A stand-in for a server on a port of one's choice."""

    def __init__(self, port, **models):
        ThreadingHTTPServer.allow_reuse_address = True
        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.models = models
        self.http.calls = []
        self.port = port


class Host:
    """systemctl of a host. ``files`` are what units would be started with; ``stuck`` marks never come to serve."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, dict] = {}
        self.enabled: set[str] = set()
        self.processes: dict[str, subprocess.Popen] = {}
        self.servers: dict[str, ServerAt] = {}
        self.running: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.deeds: list[str] = []

    def lay_down(self, name, mark, rest, grpc=1, described=True):
        """Put an instance's files on the host."""
        config = {"name": "m", "base_path": str(self.root / "models/m")}
        config["model_version_policy"] = {"specific": {"versions": [1]}}
        instance = {
            "name": name,
            "models": ["m"],
            "ports": {"grpc": grpc, "rest": rest},
            "model_config": {"model_config_list": {"config": [config]}},
            "start_timeout_s": 60,
            "flags": {},
        }
        folder = self.root / "etc" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "models.config").write_text(mark)
        if described:
            (folder / "instance.json").write_text(json.dumps({"instance": instance, "models": []}))
        self.files[name] = {"mark": mark, "rest": rest, "grpc": grpc}
        return instance

    def remove_files(self, name):
        for file in (self.root / "etc" / name).iterdir():
            file.unlink()
        (self.root / "etc" / name).rmdir()
        del self.files[name]

    def start(self, name):
        file = self.files[name]
        arguments = [f"--port={file['grpc']}", f"--rest_api_port={file['rest']}"]
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(600)", *arguments],
            env={"TFSERVING_CONFIGURATION": file["mark"], "PATH": os.environ["PATH"]},
        )
        self.running[name] = file["mark"]
        self._await_start(self.processes[name].pid)
        if file["mark"] not in self.stuck:
            # Raises where another still holds the port: the order was wrong.
            self.servers[name] = ServerAt(file["rest"], m=Model({1: "AVAILABLE"})).__enter__()

    def _await_start(self, pid):
        # Between fork and exec a process still has our own environment and command line.
        while b"--rest_api_port" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            time.sleep(0.001)

    def stop(self, name):
        if name in self.servers:
            self.servers.pop(name).__exit__()
        if name in self.processes:
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def close(self):
        for name in list(self.processes):
            self.stop(name)

    def pid(self, name):
        return self.processes[name].pid if name in self.processes else 0

    def run(self, arguments, **_options):
        if arguments[0] != "systemctl":
            return 0, "", ""
        verb, name = arguments[1], next((self._name(one) for one in arguments[2:] if "@" in one), "")
        if verb == "list-units":
            units = sorted({*self.processes}) if "health" not in arguments[-1] else []
            return 0, "".join(f"tfserving@{one}.service loaded active running x\n" for one in units), ""
        if verb == "list-unit-files":
            return 0, "".join(f"tfserving@{one}.service enabled enabled\n" for one in sorted(self.enabled)), ""
        if verb == "show":
            return 0, self._shown(name, health="health" in " ".join(arguments)), ""
        if verb in ("start", "stop", "restart", "enable", "disable"):
            self._do(verb, name)
        return 0, "", ""

    def _name(self, unit):
        return unit.partition("@")[2].partition(".")[0]

    def _shown(self, name, health):
        if health:
            return "ActiveState=inactive\nMainPID=0\nLoadState=loaded\nEnvironment=\nExecStart=\n"
        mark = self.files.get(name, {}).get("mark", "")
        active = "active" if name in self.processes else "inactive"
        enabled = "enabled" if name in self.enabled else "disabled"
        return (
            f"UnitFileState={enabled}\nActiveState={active}\nMainPID={self.pid(name)}\nLoadState=loaded\nSubState=running\n"
            f"NRestarts=0\nResult=success\nExecMainStatus=0\nEnvironment=TFSERVING_CONFIGURATION={mark}\n"
        )

    def _do(self, verb, name):
        self.deeds.append(f"{verb} {name}")
        if verb == "enable":
            self.enabled.add(name)
        if verb == "disable":
            self.enabled.discard(name)
        if verb in ("stop", "restart", "disable"):
            self.stop(name)
        if verb in ("start", "restart"):
            self.start(name)
