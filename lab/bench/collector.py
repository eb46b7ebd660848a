# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of the collector costs: wall time, CPU time with that of the programs it asks, and resident memory.

The host is this machine, with a plan of one instance whose "server" is a process of as many threads as the pools of a
server have. systemctl, journalctl and nvidia-smi are programs that print what the real ones print, so that starting
them is in the figures and their own work is not. Ratios are to a Python that starts and ends.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import figures

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "plugins/module_utils"
ROUNDS = 15
PERIOD_S = 60
THREADS = (100, 1000, 3000)
TIMEOUT_S = 60

WALL_TARGET_S, SHARE_TARGET, MEMORY_TARGET_MIB = 0.5, 0.005, 20

SERVER = """
import sys, threading
threading.stack_size(1 << 16)
for _number in range(int(sys.argv[1]) - 1):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""
# The package is fleet.collector there, as on a host; places of the host are moved below a folder.
RUN = """
import importlib.machinery, importlib.util, os, sys
root = os.environ["BENCH_ROOT"]
spec = importlib.machinery.ModuleSpec("fleet", None, is_package=True)
spec.submodule_search_locations = [os.environ["BENCH_SOURCES"]]
sys.modules["fleet"] = importlib.util.module_from_spec(spec)
from fleet.collector import __main__, host, plan
__main__.FILE, host.PLAN = f"{root}/tfserving.prom", f"{root}/plan.json"
plan.PLAN = host.PLAN
of_gpus = {"gpus": lambda _host: True, "xids": lambda _host: True}
__main__.PARTS = tuple(part._replace(applies=of_gpus.get(part.name, part.applies)) for part in __main__.PARTS)
sys.exit(__main__.main())
"""
GPU_ROW = (
    "{0}, GPU-0000000{0}, 00000000:0{0}:00.0, 97, 1024, 81559, 60, 600.00, 700.00, 1980, 1980, 16, 16, 0, 0, Enabled,"
    " 590.48.01, 0x0000000000000004, NVIDIA H100 80GB HBM3"
)


def main() -> int:
    print(figures.machine(), flush=True)
    print(figures.takes("1 minute"), flush=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="tfserving-collector-") as folder, companion() as port:
        for threads in THREADS:
            rows.append(row(Path(folder), threads, port))
    header = ("threads", "wall s", "CPU s", "CPU / bare Python", "share of a core", "resident MiB")
    print(figures.table(f"a run of the collector, {ROUNDS} rounds", header, rows))
    print(targets(rows))
    return 0


def targets(rows: list[tuple[str, ...]]) -> str:
    worst = rows[-1]
    wall, share, memory = float(worst[1].split()[0]), float(worst[4]), float(worst[5])
    return "\n".join(
        [
            "",
            f"wall seconds with {worst[0]} threads: {figures.verdict(wall, at_most=WALL_TARGET_S)}",
            f"share of a core at one run in {PERIOD_S} s: {figures.verdict(share, at_most=SHARE_TARGET)}",
            f"resident MiB: {figures.verdict(memory, at_most=MEMORY_TARGET_MIB)}",
        ]
    )


def row(folder: Path, threads: int, port: int) -> tuple[str, ...]:
    """The figures for a server of so many threads; rounds alternate with those of a bare Python."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        server.stdout.readline()
        lay_down(folder, server.pid, port)
        once(folder, RUN)  # what only the first run does
        pairs = [(once(folder, RUN), once(folder, "")) for _round in range(ROUNDS)]
    finally:
        server.kill()
        server.wait()
    wall, cpu, memory = zip(*(mine for mine, _bare in pairs))
    ratios = figures.paired(cpu, [bare[1] for _mine, bare in pairs])
    share = figures.median(cpu) / PERIOD_S
    return (
        str(threads), figures.seconds(wall), figures.seconds(cpu), figures.compared(ratios), f"{share:.4f}",
        f"{max(memory):.1f}",
    )  # fmt: skip


@contextmanager
def companion() -> Iterator[int]:
    """The port of a companion that tells the states of a hundred versions."""
    states = {"m": {str(number): "AVAILABLE" for number in range(100)}}
    told = {"open": True, "state": "open", "record": None, "health": {"models": states}}
    body = json.dumps({"instances": {"ranker": told}}).encode()

    def answer(wire: socket.socket) -> None:
        while True:
            call, _peer = wire.accept()
            with call:
                call.recv(1000)
                call.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    with socket.create_server(("127.0.0.1", 0)) as wire:
        threading.Thread(target=answer, args=(wire,), daemon=True).start()
        yield wire.getsockname()[1]


def once(folder: Path, script: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds with those of its children, and peak MiB of a Python that runs a script."""
    environment = {
        "BENCH_ROOT": str(folder), "BENCH_SOURCES": str(SOURCES), "STATE_DIRECTORY": str(folder),
        "PATH": f"{folder}/bin:{os.defpath}",
    }  # fmt: skip
    report = folder / "usage"
    # Its own peak: that of the children, which are smaller, is another figure of the same call.
    tail = f"""
import atexit, resource
def told():
    me = resource.getrusage(resource.RUSAGE_SELF)
    open({str(report)!r}, "w").write(str(me.ru_maxrss / 1024))
atexit.register(told)
"""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        ["/usr/bin/python3", "-I", "-B", "-c", tail + script], env=environment, check=True, timeout=TIMEOUT_S
    )
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, float(report.read_text())


def lay_down(folder: Path, pid: int, port: int) -> None:
    """Put a plan and the programs in place. The state is another server's, and begins anew."""
    (folder / "state.json").unlink(missing_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan(port)))
    shown = f"MainPID={pid}\nNRestarts=0\nId=tfserving@ranker.service\nActiveState=active"
    program(folder, "systemctl", shown)
    program(folder, "journalctl", "-- cursor: s=1")
    program(folder, "nvidia-smi", "\n".join(GPU_ROW.format(number) for number in range(8)))


def plan(port: int) -> dict:
    """A plan of one instance, as large as one of many models."""
    models = [{"name": f"m{number}", "base_path": "x"} for number in range(100)]
    instance = {
        "name": "ranker", "models": ["m"], "cpus": "0", "gpus": ["GPU-00000000"], "ports": {"grpc": 1, "rest": 2},
        "digest": "0123456789ab", "environment": {}, "model_config": {"model_config_list": {"config": models}},
    }  # fmt: skip
    paths = {"models": "/nonexistent", "config": "/etc/tfserving"}
    return {
        "schema": 1,
        "server": {"version": "2.19.1"},
        "paths": paths,
        "gate": {"port": port},
        "instances": [instance],
    }


def program(folder: Path, name: str, says: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
