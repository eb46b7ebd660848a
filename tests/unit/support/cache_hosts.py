# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Serving hosts behind a gateway's cache: each answers with its version and a digest of what it was asked.

And the cache itself: Varnish with the role's files, as a process of this account.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gateway_cases as cases
import haproxies
import jinja2
import nginxes
import varnishes
from ports import free_port
from repository import REPOSITORY

UNIT = REPOSITORY / "roles/gateway/templates/host/etc/systemd/system/tfserving-cache.service.j2"
PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/(\w+))?(/metadata|:\w+)?")
START_S = 60
# In place of the template's: a machine that stands still for a moment is no store that hangs.
PATIENT = [("timeout check 6ms", "timeout check 5s"), ("inter 4ms downinter 50ms", "inter 50ms")]


class Host:
    """A host that serves the models by ``versions``, each AVAILABLE; calls take ``delay_s``."""

    def __init__(self, number: int, ports: Mapping[str, int], versions: tuple[int, ...] = (7,)) -> None:
        self.name, self.address, self.ports = f"gpu-{number}", f"127.0.0.{number}", ports
        self.versions = versions
        self.labels: dict[str, int] = {}
        self.delay_s = 0.0
        self.held = False
        self.random = False
        self.size = 0
        self.calls: list[str] = []

    async def open(self) -> None:
        await asyncio.start_server(self._gate, self.address, self.ports["gate"])
        await asyncio.start_server(self._rest, self.address, self.ports["rest"], limit=1 << 24, backlog=4096)

    async def _gate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            writer.write(ok if line.startswith(b"GET ") else b"up 100%\n")
            await writer.drain()
            writer.close()

    async def _rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                found = re.search(r"(?im)^content-length: *([0-9]+)", head)
                body = await reader.readexactly(int(found[1])) if found else b""
                method, path, _ = head.split(" ", 2)
                status, answer = await self._answer(method, path, body, head)
                text = json.dumps(answer).encode()
                kind = "Content-Type: application/json"
                head = f"HTTP/1.1 {status} X\r\n{kind}\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write(head.encode() + text)
                await writer.drain()
        writer.close()

    async def _answer(self, method: str, path: str, body: bytes, head: str) -> tuple[int, Any]:
        found = PATH.fullmatch(path)
        if not found:
            return 404, {"error": "no such path"}
        label = found[3]
        if label and label not in self.labels:
            return 400, {"error": f"Unrecognized servable version label: {label}"}
        version = int(found[2] or (self.labels[label] if label else max(self.versions)))
        if method == "GET" and found[4]:
            return 200, {
                "model_spec": {"name": found[1], "signature_name": "", "version": str(version)},
                "metadata": {},
            }
        if method == "GET":
            pages = [
                {"version": str(each), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                for each in self.versions
            ]
            return 200, {"model_version_status": pages}
        if version not in self.versions:
            return 404, {"error": f"Servable not found for request: Specific({found[1]}, {version})"}
        self.calls.append(path)
        await asyncio.sleep(self.delay_s)
        while self.held:
            await asyncio.sleep(0.01)
        if b"refuse" in body[:100]:
            return 400, {"error": "refused"}
        digest = hashlib.sha256(body).hexdigest() + (os.urandom(4).hex() if self.random else "")
        return 200, {"version": version, "digest": digest, "host": self.name, "fill": "x" * self.size}


class Site:
    """A gateway with its cache, in front of hosts; all of them processes or threads of this account."""

    def __init__(self, place: Path, plan: Any, hosts: dict[str, Host], processes: dict[str, Any]) -> None:
        self.place, self.plan, self.hosts, self.processes = place, plan, hosts, processes
        self.cache_version = varnishes.BOOKWORM
        self.port = plan["frontends"][0]["port"]

    def command(self, text: str) -> str:
        """Return the answer of HAProxy's socket."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(START_S)
            line.connect(str(self.place / "admin.sock"))
            line.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def current(self, backend: str, server: str) -> int:
        """Return how many calls a server of HAProxy's carries."""
        rows = [row.split(",") for row in self.command("show stat").splitlines()]
        return next(int(row[4]) for row in rows if row[:2] == [backend, server])

    def states(self) -> dict[str, str]:
        """Return UP or DOWN of each server, by backend and name."""
        rows = [row.split(",") for row in self.command("show stat").splitlines() if row and row[0] != "#"]
        return {f"{row[0]}/{row[1]}": row[17] for row in rows if row[1] not in ("FRONTEND", "BACKEND")}

    def settled(self) -> None:
        """Wait until the cache is asked and no server counts as one that has moved on."""
        end = time.monotonic() + START_S
        while True:
            found = self.states()
            moved = [name for name, state in found.items() if name.startswith("moved_") and state != "DOWN"]
            if not moved and found.get("answers/store", "UP") == "UP":
                return
            assert time.monotonic() < end, found
            time.sleep(0.02)

    @property
    def calls(self) -> list[str]:
        """Return the paths of all calls that servers have carried out."""
        return [path for host in self.hosts.values() for path in host.calls]

    def pids(self) -> list[int]:
        """Return the processes of the cache, the one that answers first."""
        first = self.processes["cache"].pid
        found = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [*map(int, found), first]

    def restarted(self) -> None:
        """Start the cache again after its end."""
        self.processes["cache"].wait()
        self.processes["cache"] = start_cache(self.plan, self.place, self.cache_version)
        self.settled()

    def counters(self) -> dict[str, int]:
        """Return Varnish's own counters."""
        program = varnishes.beside(self.cache_version, "varnishstat")
        fields = [word for name in ("MAIN.*", "VBE.*", "SMA.*") for word in ("-f", name)]
        command = [program, "-n", str(self.place / "varnish"), "-1", *fields]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {line.split()[0]: int(line.split()[1]) for line in said.splitlines()}


def cache_command(plan: Any, place: Path) -> list[str]:
    """Return the command of the unit, with the places of a folder."""
    text = (
        jinja2.Environment(trim_blocks=True)
        .from_string(UNIT.read_text())
        .render(ansible_managed="x", __gateway_plan=plan)
    )
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert command
    words = command[1].replace("\\\n", " ").split()
    places = {
        "%C/tfserving-cache": str(place / "varnish"),
        "store=/var/lib/haproxy/tfserving-cache/store.sock,HTTP,mode=666": f"store={place}/store.sock,HTTP,mode=666",
        "/etc/tfserving-cache/answers.vcl": str(place / "etc/tfserving-cache/answers.vcl"),
    }
    return [places.get(word, word) for word in words]


def varnish(plan: Any, place: Path, version: str) -> list[str]:
    """Return the command of a version of Varnish with the plan's files."""
    own = [word for word in cache_command(plan, place)[1:] if word not in ("-j", "none")]
    # "none" is also where it would listen for commands.
    own.insert(own.index("-T") + 1, "none")
    return varnishes.command(version, *own)


def start_cache(plan: Any, place: Path, version: str) -> subprocess.Popen[bytes]:
    """Start a version of the cache with the plan's files, and wait until its socket answers."""
    (place / "store.sock").unlink(missing_ok=True)
    command = nginxes.command(version, place) if plan["cache"]["engine"] == "nginx" else varnish(plan, place, version)
    with (place / "cache.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    end = time.monotonic() + START_S
    while not answers(place / "store.sock"):
        _alive(process, end, place / "cache.log")
        time.sleep(0.05)
    return process


def _alive(process: subprocess.Popen[bytes], end: float, log: Path) -> None:
    assert process.poll() is None, log.read_text()
    assert time.monotonic() < end, log.read_text()


def answers(path: Path) -> bool:
    """Return whether the store answers."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            line.connect(str(path))
            line.sendall(b"GET / HTTP/1.1\r\nHost: check\r\n\r\n")
            return line.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@contextlib.contextmanager
def running(place: Path, count: int, wish: Mapping[str, Any], package: str, cache: str, **keys: Any) -> Iterator[Site]:
    """A gateway whose model ranker has the wish, in front of ``count`` hosts, until the block ends."""
    ports = {"rest": free_port(), "gate": free_port(), "grpc": free_port()}
    versions, labels, patience = keys.pop("versions", [7]), keys.pop("labels", {}), keys.pop("patience", PATIENT)
    instance = cases.instance(
        versions=versions, labels=labels, ports={"grpc": ports["grpc"], "rest": ports["rest"]},
        threads={"grpc": 513, "rest": 513}, batching=None,
    )  # fmt: skip
    fleet = {f"gpu-{number}": cases.host(number, instance, gate_port=ports["gate"]) for number in range(2, count + 2)}
    for entry in fleet.values():
        entry["models"] = [{"name": "ranker", "versions": versions, "cache": dict(wish)}]
    own = {
        "gateway_address": "127.0.0.1",
        "gateway_rest_port": free_port(),
        "gateway_grpc_ports": {"ranker": free_port()},
        "gateway_status_port": free_port(),
        "gateway_log": str(place / "log.sock"),
        "gateway_slowstart_s": 0,
        "gateway_max_connections": 2000,
        "gateway_queue_share": 10,
        **keys,
    }
    plan = cases.planned(fleet, package, **own)
    secrets = {name: value for name, value in keys.items() if name.startswith("gateway_")}
    own_places = nginxes.places(cache, place) if plan["cache"]["engine"] == "nginx" else []
    config = cases.laid_down(plan, place, [("10.0.0.", "127.0.0."), *patience, *own_places], **secrets)
    hosts = {name: Host(int(name[4:]), ports, tuple(versions)) for name in fleet}
    for host in hosts.values():
        host.labels = dict(labels)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    for host in hosts.values():
        asyncio.run_coroutine_threadsafe(host.open(), loop).result(START_S)
    processes: dict[str, Any] = {}
    site = Site(place, plan, hosts, processes)
    with contextlib.ExitStack() as stack:
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        if plan["cache"]["live"]:
            site.cache_version = cache
            if plan["cache"]["engine"] == "nginx" and plan["cache"]["store"]["is_local"]:
                processes["redis"] = nginxes.start_redis(cache, place)
            processes["cache"] = start_cache(plan, place, cache)
        stack.callback(_end, processes)
        with (place / "haproxy.log").open("wb") as output:
            processes["haproxy"] = subprocess.Popen(
                [haproxies.program(package), "-db", "-f", str(config)], stdout=output, stderr=output
            )
        end = time.monotonic() + START_S
        while not (place / "admin.sock").exists():
            _alive(processes["haproxy"], end, place / "haproxy.log")
            time.sleep(0.02)
        site.settled()
        yield site


def _end(processes: dict[str, Any]) -> None:
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
