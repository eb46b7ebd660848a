# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs in the lab's VM for benchmarks: does what each line of JSON on standard input asks, and answers with a line.

One process for all orders, because an emulated CPU takes seconds for a login and for the start of an interpreter. The
standard library is all it may use. Its own collection lies beside it (see guest.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
COMMAND_S = 300
# The kernel's work that is bound to no CPU.
UNBOUND = Path("/sys/devices/virtual/workqueue/cpumask")


def topology() -> Any:
    """What the module host_topology returns of this machine."""
    sys.path.insert(0, str(Path(__file__).resolve().parent / "collection"))
    name = "ansible_collections.tfserving.fleet.plugins.module_utils"
    read = __import__(f"{name}.topology.read", fromlist=["_"]).read
    return read(__import__(f"{name}.host.sysfs", fromlist=["_"]).Tree("/"), ["0x10de"])


def put(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def run(words: list[str]) -> dict[str, Any]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def steer(cpus: str, mask: str) -> int:
    """Lead interrupts and unbound work to some CPUs; return how many interrupts the kernel let nobody move."""
    immovable = 0
    UNBOUND.write_text(mask, encoding="ascii")
    for file in Path("/proc/irq").glob("[0-9]*/smp_affinity_list"):
        try:
            file.write_text(cpus, encoding="ascii")
        except OSError:
            immovable += 1
    return immovable


def evidence(slices: list[str], units: list[str]) -> dict[str, Any]:
    """What the kernel says of slices and units, by name; a unit that does not run has no cgroup."""
    return {
        "slices": {name: _read(CGROUPS / name / "cpuset.cpus.effective") for name in slices},
        "units": {name: _unit(name) for name in units},
        "weights": [
            "/" if place.parent == CGROUPS else place.parent.name
            for place in _controls()
            if "cpu" in _read(place).split()
        ],
        "at": time.monotonic(),
    }


def _unit(name: str) -> dict[str, Any] | None:
    found = next((group for group in CGROUPS.glob(f"*.slice/{name}")), None)
    if found is None:
        return None
    pids = [int(pid) for pid in _read(found / "cgroup.procs").split()]
    return {
        "slice": found.parent.name,
        "pids": pids,
        "threads": sum(1 for pid in pids for _ in Path(f"/proc/{pid}/task").glob("*")),
        "allowed": sorted({allowed for pid in pids for allowed in _allowed(pid)}),
        "cpu_s": _cpu_s(found),
    }


def _allowed(pid: int) -> set[str]:
    """The CPUs that each thread may run on, as the kernel lists them."""
    found = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = _read(status).splitlines()
        found |= {line.split(":", 1)[1].strip() for line in lines if line.startswith("Cpus_allowed_list:")}
    return found


def _cpu_s(group: Path) -> float:
    lines = dict(line.split() for line in _read(group / "cpu.stat").splitlines())
    return int(lines.get("usage_usec", 0)) / 1e6


def _controls() -> list[Path]:
    """The files that say how the kernel shares what a cgroup has among those below it."""
    return [CGROUPS / "cgroup.subtree_control", *CGROUPS.glob("*.slice/cgroup.subtree_control")]


def _read(path: Path) -> str:
    """A file of the kernel's, empty where it is gone: a thread may have ended."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def main() -> None:
    orders = {order.__name__: order for order in (topology, put, run, steer, evidence)}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"answer": orders[asked.pop("do")](**asked)}
        except Exception as error:  # the other side ends with it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
