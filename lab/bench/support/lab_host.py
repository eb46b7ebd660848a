# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab host that figures are taken on, and Ansible as a user of the checkout runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "lab"))

from fleet_lab import environment  # noqa: E402
from fleet_lab.config import HOSTS, Lab  # noqa: E402

HOST = HOSTS[0]
INVENTORY = ROOT / "inventories" / "lab"
CALLBACKS = Path(__file__).resolve().parents[1] / "callbacks"
CONNECTIONS = CALLBACKS.with_name("connections")
PLAN = "/etc/tfserving/plan.json"

# The longest run, 100 files in a loop, took six minutes on two busy cores; what hangs must not hang for ever.
TIMEOUT_S = 1800

_LAB = Lab.from_environment(ROOT)


def ready() -> None:
    """Leave a lab host on which site.yml has been run; a host that already runs is left alone."""
    if not _runs():
        print(f"{HOST} does not run: starting the lab (make up)", flush=True)
        subprocess.run([sys.executable, "-B", ROOT / "lab" / "lab.py", "up"], check=True)
    if in_host("test", "-e", PLAN, check=False).returncode:
        print(f"{HOST} serves nothing yet: running site.yml on it", flush=True)
        ansible("ansible-playbook", "site.yml", "-l", HOST)


def plan_in_force() -> dict[str, Any]:
    """The plan that site.yml left on the host."""
    return json.loads(in_host("cat", PLAN).stdout)


def in_host(
    *command: str, stdin: str | None = None, check: bool = True, timeout: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a command on the host, not by Ansible."""
    words = ["docker", "exec", *(["--interactive"] if stdin is not None else []), HOST, *command]
    return _run(words, dict(os.environ), check, stdin, timeout)


def ansible(program: str, *arguments: str | Path) -> float:
    """Run `ansible` or `ansible-playbook` on the lab's inventory and return its wall seconds."""
    return timed(program, arguments, {}, INVENTORY)


def recorded(
    program: str, *arguments: str | Path, answers: Path | None = None, inventory: Path = INVENTORY
) -> tuple[float, list[dict[str, Any]]]:
    """The same with callbacks/bench_record.py: wall seconds, and what that recorded.

    With a folder for answers, those of a lab host are kept there, and simulated ones take theirs from it.
    """
    with tempfile.NamedTemporaryFile(prefix="fleet-bench-", suffix=".jsonl") as record:
        extra = {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "bench_record",
            "BENCH_RECORD": record.name,
        }
        if answers is not None:
            extra["ANSIBLE_CALLBACKS_ENABLED"] += ",bench_answers"
            extra |= {"ANSIBLE_CONNECTION_PLUGINS": str(CONNECTIONS), "BENCH_ANSWERS": str(answers)}
        wall = timed(program, arguments, extra, inventory)
        return wall, [json.loads(line) for line in record.read().splitlines()]


def timed(program: str, arguments: Sequence[str | Path], extra: Mapping[str, str], inventory: Path) -> float:
    """Wall seconds of one whole run, the start of Ansible included."""
    env = {**os.environ, **environment.ansible(_LAB), **extra}
    words = [str(_LAB.venv / "bin" / program), "-i", str(inventory), *map(str, arguments)]
    before = time.perf_counter()
    _run(words, env, True, None, TIMEOUT_S)
    return time.perf_counter() - before


def _runs() -> bool:
    # Not _run: without an engine the command itself does not exist.
    try:
        return subprocess.run(["docker", "exec", HOST, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _run(
    words: list[str], env: Mapping[str, str], check: bool, stdin: str | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(
        words, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout, **source
    )
    if check and done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        raise SystemExit(f"{Path(words[0]).name} failed with exit code {done.returncode}; its messages stand above")
    return done
