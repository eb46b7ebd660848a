# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How long rollback.yml takes until 200 hosts answer with the version before, from its start to the line that says so.

The hosts are simulated: each takes a module as over SSH with pipelining, and answers after a while without running it.
So this is the controller's share, with what hosts do at the same time as mere waiting. What a host really does takes
CPU of its own, and SSH adds a client process for each connection; neither is here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support import figures

ROOT = Path(__file__).resolve().parents[2]
HOSTS, GATEWAYS = 200, 2
FORKS = (20, 50, 100, 200)
# A module that starts and does nothing, and a server that unloads a version: it looks at its directories each second.
WAITS = (0.0, 1.5)
ROUNDS = 3
TARGET_S = 10.0
ARGUMENTS = {
    "model": "ranker",
    "reason": "taken back by hand",
    "at": 1795807200.0,
    "serves": True,
    "shares": "",
    "seconds": 12.0,
    "decided": {"generation": 2, "old": 7, "new": 8},
    "path": "/var/lib/tfserving-fleet/rollout",
    "config_root": "/etc/tfserving",
    "state_path": "/var/lib/tfserving-fleet/trees",
    "model_root": "/var/lib/tfserving/models",
    "socket": "/run/haproxy/admin.sock",
}
LINE = f"{HOSTS} of {HOSTS} hosts answer with 7"
PATIENCE_S = 120


def main() -> int:
    print(figures.machine(), flush=True)
    print(figures.takes("4 minutes"), flush=True)
    found: dict[tuple[int, float], list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch:
        for number in range(ROUNDS):
            for forks in FORKS if number % 2 else reversed(FORKS):
                for waits in WAITS:
                    found.setdefault((forks, waits), []).append(measure(Path(scratch), forks, waits))
    print(report(found))
    return 0


def measure(folder: Path, forks: int, waits: float) -> tuple[float, float, float]:
    """Seconds from the start of ansible-playbook to its line, and of CPU until then: its own, and its workers'."""
    lay_out(folder, waits)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connections"),
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        sys.executable,
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(folder / "hosts.json"),
    ]
    command += [str(ROOT / "playbooks" / "rollback.yml"), "-e", "model=ranker"]
    started = time.monotonic()
    run = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return _until_line(run, started), *_used(run.pid)
    finally:
        os.killpg(run.pid, signal.SIGTERM)
        run.communicate()


def lay_out(folder: Path, waits: float) -> None:
    """An inventory of hosts that answer as rollout_return does."""
    state = {
        "schema": 1,
        "model": "ranker",
        "generation": 2,
        "revision": 1,
        "old": 7,
        "new": 8,
        "steps": [1, 50, 100],
        "stage": "reverting",
        "step": 1,
        "since": 1.0,
        "held": "",
        "is_share_zero": True,
        "history": [],
        "reverted": {"8": {"reason": "wrong scores", "at": 1.0}},
        "evidence": None,
        "reason": "wrong scores",
        "arms": {"canary": _names(0, HOSTS // 2), "control": _names(HOSTS // 2, HOSTS)},
        "ready": 1,
    }
    served = [{"name": "ranker", "answers": True, "words": "", "states": {"7": "AVAILABLE", "8": "END"}}]
    # A module returns its arguments too. Of serving hosts and gateways, gateways alone send the whole state.
    answer = {"changed": True, "old": 7, "instances": served, "share": True, "invocation": {"module_args": ARGUMENTS}}
    for kind, said in (("host", None), ("gateway", state)):
        (folder / f"{kind}.json").write_text(json.dumps({**answer, "state": said}))
    connection = {
        "ansible_connection": "simulated",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "simulated_answer": str(folder / "host.json"),
        "simulated_seconds": waits,
    }
    models = [{"name": "ranker", "version": 8, "source": {"type": "path", "uri": "exports/{version}"}, "rollout": {}}]
    variables = {**connection, "tfserving_models": models, "tfserving_instances": [{"name": "ranker"}]}
    groups: Mapping[str, Any] = {
        "tfserving": {"hosts": {name: {} for name in _names(0, HOSTS)}},
        "tfserving_gateways": {
            "hosts": {name: {"simulated_answer": str(folder / "gateway.json")} for name in _edges()}
        },
    }
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": groups, "vars": variables}}))


def report(found: Mapping[tuple[int, float], list[tuple[float, float, float]]]) -> str:
    rows = []
    for (forks, waits), runs in sorted(found.items()):
        walls, own, workers = zip(*runs)
        verdict = figures.verdict(figures.median(walls), at_most=TARGET_S)
        rows.append((forks, f"{waits:g}", *map(figures.seconds, (walls, own, workers)), verdict))
    title = f"rollback.yml, {HOSTS} simulated hosts and {GATEWAYS} gateways: median (min-max) of {ROUNDS} rounds"
    header = (
        "forks",
        "a host takes s",
        "wall s until the line",
        "CPU s of ansible-playbook",
        "CPU s of its workers",
        "target s",
    )
    return figures.table(title, header, rows)


def _names(first: int, beyond: int) -> list[str]:
    return [f"gpu-{number:03d}" for number in range(first, beyond)]


def _edges() -> list[str]:
    return [f"edge-{number + 1}" for number in range(GATEWAYS)]


def _until_line(run: subprocess.Popen[str], started: float) -> float:
    assert run.stdout
    said = []
    for line in run.stdout:
        said.append(line)
        if LINE in line:
            return time.monotonic() - started
        if time.monotonic() - started > PATIENCE_S:
            break
    raise SystemExit("the run never said that hosts answer:\n" + "".join(said[-30:]))


def _used(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    own, own_system, others, others_system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15])
    return own + own_system, others + others_system


if __name__ == "__main__":
    sys.exit(main())
