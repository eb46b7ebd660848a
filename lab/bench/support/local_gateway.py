# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy with the files of a gateway's plan, and the companion of the gates, as processes of this machine.

The binaries are the packages of Debian that the tests use, the files are those of the role. Addresses and places alone
differ: each host of the fleet is an address of loopback, where the same server answers. Call local_load.importable()
before anything else.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import lab_models, local_load, local_server

START_S = 60
PAUSE_S = 0.02  # between two looks whether something has happened
INTERVALS_S = {"agent": 0.5, "http": 1.0}  # of the role's template: agent-inter and inter
INVOCATION = "a" * 32
# The companion's program, but with the places that it reads below a folder: those of a host belong to systemd.
COMPANION = """\
import socket, sys
_, collections, folder, address, *names = sys.argv
sys.path.insert(0, collections)
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import __main__, companion, config, marks, record
config.PATH, marks.FOLDER, marks.UNITS, record.FOLDER = (f"{folder}/{name}" for name in names)
if address:
    companion.listener = lambda port: socket.create_server((address, port))
sys.exit(__main__.serve())
"""
FILES = ("gate.json", "marks", "units", "records")


class Gateway:
    """A running HAProxy."""

    def __init__(self, place: Path, plan: Mapping[str, Any], process: subprocess.Popen[bytes]) -> None:
        self.plan, self._place, self._process = plan, place, process
        by_protocol = {each["protocol"]: each["port"] for each in plan["frontends"]}
        self.grpc_port, self.rest_port = by_protocol["grpc"], by_protocol["rest"]

    def cpu_seconds(self) -> float:
        return local_server.cpu_seconds(self._process.pid)

    def rss_mib(self) -> float:
        return local_server.rss_mib(self._process.pid)

    def command(self, text: str) -> str:
        """The answer of its socket."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(START_S)
            line.connect(str(self._place / "admin.sock"))
            line.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def share(self, model: str, permille: int) -> None:
        """Change the share of a model's roll-out as the role does, while it runs."""
        said = self.command(f"set map {self._place}/etc/haproxy/tfserving/maps/shares.map {model} {permille}")
        if said.strip():
            raise SystemExit(f"HAProxy does not take the share: {said.strip()}")

    def calls(self) -> dict[str, int]:
        """The calls of each backend so far."""
        return {row["pxname"]: int(row["stot"]) for row in self._stat() if row["svname"] == "BACKEND"}

    def await_calls(self, host: str, gets_calls: bool) -> None:
        """Wait until a host gets calls in every backend, or has none and gets none any more."""
        deadline = time.monotonic() + START_S
        while not all(_has(row, gets_calls) for row in self._servers() if row["svname"].startswith(f"{host}.")):
            if time.monotonic() > deadline:
                raise SystemExit(f"after {START_S} s {host} still {'gets no' if gets_calls else 'has'} calls")
            time.sleep(PAUSE_S)

    def settle(self) -> None:
        """Wait until each server has passed its checks: before the first one HAProxy counts it as up."""
        deadline = time.monotonic() + START_S
        while not all(row["status"] == "UP" and row["check_status"].startswith("L7OK") for row in self._servers()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                states = {row["svname"]: f"{row['status']} {row['last_chk']}" for row in self._servers()}
                raise SystemExit(f"the gateway has servers that are not up: {states}")
            time.sleep(PAUSE_S)

    def _servers(self) -> list[dict[str, str]]:
        return [row for row in self._stat() if row["check_status"] or row["agent_status"]]

    def _stat(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.command("show stat").removeprefix("# ").splitlines()))


@contextmanager
def running(
    folder: Path, package: str, fleet: Mapping[str, Any], log: Path, cpu: int, gateway: str, **settings: Any
) -> Iterator[Gateway]:
    """A gateway of a package's version on a CPU, whose servers are up, until the block ends."""
    if platform.machine() != "x86_64":
        raise SystemExit("HAProxy is fetched for x86_64 only")
    import gateway_cases as cases
    import haproxies
    from ports import free_port

    names = {each["name"] for host in fleet.values() for each in host["instances"]}
    own = {
        "gateway_address": "127.0.0.1",
        "gateway_rest_port": free_port(),
        "gateway_grpc_ports": dict.fromkeys(names, free_port()),
        "gateway_status_port": free_port(),
        "gateway_log": str(log),
        "gateway_slowstart_s": 0,
        "gateway_max_connections": 1000,
        # A machine that is busy for a moment makes calls wait: that is to be seen as latency, not as errors.
        "gateway_queue_share": 10,
    }
    plan = cases.planned(fleet, package, gateway=gateway, **own, **settings)
    config = cases.laid_down(plan, folder, [("10.0.0.", "127.0.0.")])
    command = ["taskset", "--cpu-list", str(cpu), haproxies.program(package), "-db", "-f", str(config)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _await(process, lambda: (folder / "admin.sock").exists(), folder / "output")
        found = Gateway(folder, plan, process)
        found.settle()
        yield found
    finally:
        process.kill()
        process.wait()


class Companion:
    """The running companion of the gates."""

    def __init__(self, address: str, port: int, process: subprocess.Popen[bytes], records: Path) -> None:
        self._address, self.port, self._process, self._records = address, port, process, records

    def cpu_seconds(self) -> float:
        return local_server.cpu_seconds(self._process.pid)

    def rss_mib(self) -> float:
        return local_server.rss_mib(self._process.pid)

    def drain(self, instance: str) -> None:
        """Have gateways send nothing more, as a roll-out does before a host loads a version."""
        record = local_load.part("module_utils.gate.record")
        decided = record.Record(record.DRAINING, "a version loads", "the benchmark", record.ROLLOUT)
        record.write(instance, decided, str(self._records))

    def open(self, instance: str) -> None:
        local_load.part("module_utils.gate.record").remove(instance, str(self._records))

    def ask(self, data: str) -> str:
        with socket.create_connection((self._address, self.port), START_S) as line:
            line.sendall(data.encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def poll(self, instance: str, gateways: int, backends: int, seconds: float) -> tuple[int, int]:
        """Ask as so many gateways with so many backends would; the questions, and those that had another answer."""
        began = time.monotonic()
        rounds = int(seconds / INTERVALS_S["agent"])
        every = round(INTERVALS_S["http"] / INTERVALS_S["agent"])
        answers = []
        for number in range(rounds):
            time.sleep(max(0.0, began + number * INTERVALS_S["agent"] - time.monotonic()))
            for gateway in range(gateways):
                for backend in range(backends):
                    names = (f"edge-{gateway}", f"rest_{backend}", "g1")
                    answers.append(self.ask("gate {} {} {}/a {}\n".format(instance, *names)) == "up 100%\n")
                    if number % every == 0:
                        query = "gateway={}&backend={}&generation={}".format(*names)
                        said = self.ask(f"GET /gate/{instance}?{query} HTTP/1.0\r\nHost: check\r\n\r\n")
                        answers.append(" 200 " in said[:16])
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        return len(answers), answers.count(False)


@contextmanager
def companion(
    folder: Path, instance: str, ports: Mapping[str, int], model: str, version: int, address: str = "", port: int = 0
) -> Iterator[Companion]:
    """The companion of a host with one instance, open for traffic, until the block ends.

    It answers for every host of the fleet, or with an ``address`` of loopback for one; all hosts have one ``port``.
    """
    from ports import free_port

    port = port or free_port()
    policy = {"specific": {"versions": [version]}}
    entry = {"ports": dict(ports), "models": [{"name": model, "model_version_policy": policy}]}
    plan = {"schema": 1, "port": port, "drain_timeout_s": 60, "longest_call_s": 30, "gateways": []}
    (folder / FILES[0]).write_text(json.dumps({**plan, "instances": {instance: entry}}), encoding="utf-8")
    for name in FILES[1:]:
        (folder / name).mkdir()
    (folder / "units" / f"invocation:tfserving@{instance}.service").symlink_to(INVOCATION)
    (folder / "marks" / f"{instance}.admitted").write_text(INVOCATION, encoding="ascii")
    collections = lab_models.ROOT / "collections"
    with (folder / "output").open("wb") as output:
        words = [sys.executable, "-c", COMPANION, str(collections), str(folder), address, *FILES]
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        found = Companion(address or "127.0.0.1", port, process, folder / FILES[3])
        _await(process, lambda: _is_open(found, instance), folder / "output")
        yield found
    finally:
        process.kill()
        process.wait()


@contextmanager
def log(path: Path) -> Iterator[Path]:
    """A socket that takes what gateways log, as journald does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(path))
        threading.Thread(target=_read, args=(line,), daemon=True).start()
        yield path
        line.shutdown(socket.SHUT_RDWR)


def cpu() -> int:
    """The gateway's CPU: neither the server's nor the clients', where there are three; else the clients'."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[(len(cpus) - 1) // 2]


def _has(row: Mapping[str, str], gets_calls: bool) -> bool:
    return row["status"] == "UP" if gets_calls else row["status"].startswith("DOWN") and row["scur"] == "0"


def _read(line: socket.socket) -> None:
    while line.recv(65536):
        pass


def _is_open(found: Companion, instance: str) -> bool:
    try:
        return found.ask(f"gate {instance} bench rest/a g1\n") == "up 100%\n"
    except OSError:
        return False


def _await(process: subprocess.Popen[bytes], condition: Any, output: Path) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"a program did not start:\n{output.read_text(encoding='utf-8', errors='replace')}")
        time.sleep(PAUSE_S)
