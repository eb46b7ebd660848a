# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host with one instance for trials: systemd with drop-ins that count once it has reread them, and its timers.

All of its state is in files, so that the command which a timer runs meets the same systemd, through a program named
systemctl that asks for it. Two FIFOs carry question and answer: a Python for each would be most of the work.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

OWNER = "tune-1"
BATCHING = "max_batch_size { value: 64 }\n"
UNIT = "tfserving@ranker.service"
PLAN_MARK = "0123456789ab-r1"
BINARY = "/usr/bin/tensorflow_model_server"
SYSTEMCTL = """#!/bin/sh
printf '%s\\n' "$@" >'{root}/asked'
exec 3<'{root}/told'
read -r status <&3
while read -r line <&3; do printf '%s\\n' "$line"; done
exit "$status"
"""
START = {"loaded": "", "pid": 7, "active": "active", "timers": {}, "restarts": 0, "running": []}


class TrialHost:
    """Answers commands as systemd would. A start with ``--broken`` fails; ``deeds`` are not kept across processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.deeds: list[list[str]] = []

    def boot(self, rest: int) -> None:
        """Lay down the plan and start its server."""
        for number in range(60):
            (self.root / f"proc/{number}").mkdir(parents=True)
        for folder in ("run/systemd/system", "etc/tfserving", "proc/net", "bin"):
            (self.root / folder).mkdir(parents=True)
        config = {"name": "m", "base_path": str(self.root / "models/m")}
        config["model_version_policy"] = {"specific": {"versions": [1]}}
        instance = {
            "name": "ranker",
            "models": ["m"],
            "server": {"binary": BINARY},
            "ports": {"grpc": 1, "rest": rest},
            "model_config": {"model_config_list": {"config": [config]}},
            "start_timeout_s": 60,
            "flags": {},
            "digest": PLAN_MARK[:12],
            "unit": {"PrivateDevices": "yes"},
        }
        self.record.write_text(json.dumps({"instances": [instance]}))
        self.planned()
        program = self.root / "bin/systemctl"
        program.write_text(SYSTEMCTL.format(root=self.root))
        program.chmod(0o755)
        for name in ("asked", "told"):
            os.mkfifo(self.root / name)
        self._save(dict(START))
        self._start()

    @property
    def record(self) -> Path:
        return self.root / "etc/tfserving/plan.json"

    @property
    def instance(self):
        """The plan's entry of the instance."""
        return json.loads(self.record.read_text())["instances"][0]

    def planned(self, **changes):
        """Change the plan's entry of the instance."""
        plan = {"schema": 1, "paths": {}, "models": [], "instances": [self.instance | changes]}
        self.record.write_text(json.dumps(plan))

    @property
    def state(self):
        return json.loads((self.root / "systemd.json").read_text())

    def change(self, **values):
        self._save(self.state | values)

    def _save(self, state) -> None:
        (self.root / "systemd.json").write_text(json.dumps(state))

    @property
    def drop_in(self) -> Path:
        return self.root / f"run/systemd/system/{UNIT}.d/90-trial.conf"

    @property
    def mark(self) -> str:
        """The mark of the running process."""
        text = (self.root / f"proc/{self.state['pid']}/environ").read_text()
        return text.partition("TFSERVING_CONFIGURATION=")[2].partition("\0")[0]

    @property
    def files(self) -> list[str]:
        """Everything that a trial can leave below /run."""
        return sorted(str(path.relative_to(self.root)) for path in (self.root / "run").rglob("*") if path.is_file())

    @property
    def snapshot(self):
        """All that decides what happens next."""
        return [
            self.mark if self.state["pid"] else "",
            self.state,
            [(file, (self.root / file).read_bytes()) for file in self.files],
        ]

    def run(self, arguments):
        self.deeds.append(arguments)
        program, verb, *words = arguments
        if program == "systemd-run":
            return self._arm(arguments)
        if program != "systemctl":
            return 0, "the server's last words\n" if program == "journalctl" else "", ""
        units = [word for word in words if not word.startswith("--")]
        if verb == "show":
            return 0, self._shown(units[0], "--value" in words, words), ""
        if verb == "daemon-reload":
            self.change(loaded=self.drop_in.read_text() if self.drop_in.exists() else "")
        if verb == "restart":
            self._start()
        if verb == "stop":
            kept = {name: timer for name, timer in self.state["timers"].items() if f"{name}.timer" not in units}
            self.change(timers=kept)
        return 0, "", ""

    def _arm(self, arguments):
        first = next(at for at, word in enumerate(arguments) if at and not word.startswith("--"))
        options = {word.partition("=")[0]: word.partition("=")[2] for word in arguments[1:first]}
        words = [*arguments[first:]]
        name, state = options["--unit"], self.state
        if name in state["timers"]:
            return 1, "", f"Failed to start transient timer unit: Unit {name}.timer was already loaded."
        self.change(timers={**state["timers"], name: {"seconds": options["--on-active"], "command": words}})
        return 0, "", ""

    def _start(self) -> None:
        state = self.state
        lines = state["loaded"].splitlines()
        marks = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
        commands = [line.partition("=")[2] for line in lines if line.startswith("ExecStart=/")]
        mark = marks[0] if marks else f"TFSERVING_CONFIGURATION={PLAN_MARK}"
        command = commands[0].split() if commands else [BINARY, "--port=1"]
        pid = state["restarts"] + 8
        if "--broken" in command:
            self.change(pid=0, active="failed", restarts=state["restarts"] + 1)
            return
        (self.root / f"proc/{pid}/environ").write_text(f"{mark}\0PATH=/bin\0")
        (self.root / f"proc/{pid}/cmdline").write_text("\0".join(command) + "\0")
        self.change(pid=pid, active="active", restarts=state["restarts"] + 1, running=command)

    def _shown(self, unit, bare, words) -> str:
        state = self.state
        if unit != UNIT:
            there = unit.removesuffix(".timer") in state["timers"] and unit.endswith(".timer")
            return f"ActiveState={'active' if there else 'inactive'}\n"
        marks = [line for line in state["loaded"].splitlines() if line.startswith("Environment=")]
        values = {
            "LoadState": "loaded",
            "UnitFileState": "enabled",
            "ActiveState": state["active"],
            "SubState": "running",
            "MainPID": state["pid"],
            "NRestarts": 0,
            "Result": "exit-code",
            "ExecMainStatus": 1,
            "Environment": marks[0].partition("=")[2] if marks else f"TFSERVING_CONFIGURATION={PLAN_MARK}",
        }
        if bare:
            wanted = next(word.partition("=")[2] for word in words if word.startswith("--property="))
            return f"{values[wanted]}\n"
        return "".join(f"{key}={value}\n" for key, value in values.items())

    def fire(self) -> None:
        """Let the time of every timer come: its command is run as systemd would run it."""
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        answering = threading.Thread(target=self._answer)
        answering.start()
        try:
            for name, timer in self.state["timers"].items():
                if name in self.state["timers"]:
                    subprocess.run(timer["command"], env={"PATH": path}, check=True)
        finally:
            (self.root / "asked").write_text("")
            answering.join()

    def _answer(self) -> None:
        """Be the systemd that the program asks, until a question is empty."""
        systemd = TrialHost(self.root)
        while words := (self.root / "asked").read_text().splitlines():
            status, out, _err = systemd.run(["systemctl", *words])
            (self.root / "told").write_text(f"{status}\n{out}")

    def kept(self) -> tuple[str, Path]:
        """Return the state as it is, for ``restore``: processes are not ended, and their numbers not used again."""
        aside = self.root / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(self.root / "run", aside, symlinks=True)
        return (self.root / "systemd.json").read_text(), aside

    def restore(self, kept: tuple[str, Path]) -> None:
        shutil.rmtree(self.root / "run")
        shutil.copytree(kept[1], self.root / "run", symlinks=True)
        (self.root / "systemd.json").write_text(kept[0])


def arguments(host, *more):
    """The arguments of a trial, with the ports of the plan."""
    return ["--port=1", f"--rest_api_port={host.instance['ports']['rest']}", *more]


def trial(host, *more, check_mode=False, **options):
    """Make what the module makes of its options."""
    from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
    from ansible_collections.tfserving.fleet.plugins.module_utils.trial.conduct import Trial

    defaults = {
        "instance": "ranker", "state": "present", "files": {"batching.config": BATCHING}, "expires_s": 900,
        "arguments": arguments(host, "--file_system_poll_wait_seconds=1", *more), "owner": OWNER, "probe": True,
        "versions": [], "record": str(host.record),
    }  # fmt: skip
    return Trial({**defaults, **options}, host.run, check_mode, Tree(str(host.root)))


def call(host, *more, **options):
    """Carry out one call of the module."""
    return trial(host, *more, **options).conduct()


def is_back(host):
    """Return whether the plan's settings run and nothing of a trial is left, but commands that nothing calls."""
    left = [file for file in host.files if ".back" not in file]
    return (host.mark, left, host.state["timers"]) == (PLAN_MARK, [], {})
