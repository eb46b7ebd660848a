# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Serving hosts on loopback, each at an address of its own: a gate, REST and gRPC that answer with the host's name."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gateway_cases as cases
import haproxies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub_grpc import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    GrpcStub,
    frame,
    literal,
)
from patience import LONG_S
from ports import free_port

# In place of the template's: servers change their state sooner, and a machine that stands still fails no check.
CHECKS = [
    ("timeout check 1s", f"timeout check {LONG_S:.0f}s"),
    ("inter 1s fall 2 rise 2 agent-inter 500ms", "inter 300ms fall 2 rise 2 agent-inter 200ms"),
]
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def awaited(condition: Callable[[], bool], shown: Callable[[], object]) -> None:
    """Wait until a condition holds; ``shown`` is what a failure shows."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end, shown()
        time.sleep(0.02)


class Host:
    """A host: its gate is open until ``closed`` has words, and its models are AVAILABLE unless ``state`` says else."""

    def __init__(self, number: int, ports: dict[str, int]) -> None:
        self.name, self.address, self.ports = f"gpu-{number}", f"127.0.0.{number}", ports
        self.closed = ""
        self.state = "AVAILABLE"
        self.asked: set[str] = set()
        self.calls: list[str] = []
        self.script = SimpleNamespace(grpc_reply=self.name.encode(), rest_reply=b"")

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for port, protocol in ((self.ports["gate"], self._gate), (self.ports["rest"], self._rest)):
            await asyncio.start_server(protocol, self.address, port)
        await loop.create_server(lambda: GrpcStub(self), self.address, self.ports["grpc"])

    def perform(self, play: Any) -> None:
        """Answer a gRPC call."""
        play("reply")

    async def _gate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        self.asked.add(line.strip())
        if line.startswith("GET "):
            status = "503 Service Unavailable" if self.closed else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        else:
            writer.write(f"down #{self.closed}\n".encode() if self.closed else b"up 100%\n")
        await _end(writer)

    async def _rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((line for line in head.lower().splitlines() if line.startswith("content-length:")), ":0")
            await reader.readexactly(int(length.split(":")[1]))
            method, path, _ = head.split(" ", 2)
            if method == "POST":
                self.calls.append(path)
            versions = [{"version": "7", "state": self.state, "status": {"error_code": "OK"}}]
            body = json.dumps({"host": self.name, "path": path, "model_version_status": versions}, indent=1).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
        await _end(writer)


async def _end(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.drain()
        writer.close()


class Gateway:
    """A running HAProxy in front of hosts."""

    def __init__(self, place: Path, plan: Any, hosts: dict[str, Host]) -> None:
        self.place, self.plan, self.hosts = place, plan, hosts
        self.grpc_port = next((each["port"] for each in plan["frontends"] if each["protocol"] != "rest"), 0)
        self.rest_port = plan["frontends"][0]["port"]
        # Whose certificate it is, is of no concern here.
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def rest(self, path: str, body: bytes | None = b"{}", port: int = 0, **headers: str) -> tuple[int, Any]:
        """Return status and body of a REST call."""
        tls = self.plan["access"]["tls"] and not port
        url = f"http{'s' * tls}://127.0.0.1:{port or self.rest_port}{path}"
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=LONG_S, context=self.context) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _parsed(error.read())

    def announced(self, path: str, length: int, **headers: str) -> tuple[int, Any]:
        """Return status and body of a REST call that says how long its body is, and waits before it sends one."""
        line = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=LONG_S)
        with contextlib.closing(line):
            line.putrequest("POST", path)
            for name, value in {"content-length": str(length), **headers}.items():
                line.putheader(name, value)
            line.endheaders()
            answer = line.getresponse()
            return answer.status, _parsed(answer.read())

    def grpc(self, body: bytes, method: str = PREDICT, port: int = 0, **headers: str) -> bytes:
        """Return what comes back of a gRPC call: headers, message and trailers as bytes, names and values as they are.

        HAProxy writes headers without Huffman's code.
        """
        return grpc_call(port or self.grpc_port, method, body, headers)

    def command(self, text: str) -> str:
        """Return the answer of HAProxy's socket."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.place / "admin.sock"))
            line.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def answers(self) -> bool:
        """Return whether HAProxy's socket answers by now: it is there before anybody listens on it."""
        try:
            return bool(self.command("show info"))
        except OSError:
            return False

    def said(self) -> str:
        """Return what the process has written."""
        return (self.place / "etc/haproxy/output").read_text(errors="replace")

    def states(self) -> dict[str, str]:
        """Return the state of each server, as ``backend/server``."""
        rows = [line.split(",") for line in self.command("show stat").splitlines() if line and line[0] != "#"]
        return {f"{row[0]}/{row[1]}": row[17] for row in rows if row[1] not in ("FRONTEND", "BACKEND")}

    def says(self, part: str) -> None:
        """Wait until the process has written a text: a call is answered before it is logged."""
        awaited(lambda: part in self.said(), lambda: f"{part}\n{self.said()}")

    def wait(self, condition: Any) -> None:
        """Wait until the servers' states meet a condition."""
        awaited(lambda: condition(self.states()), self.states)

    def asked(self, kind: str) -> set[str]:
        """Return the lines of one kind that the gates have been asked until now."""
        # Another thread adds to the sets meanwhile; a copy is made in one go.
        return {line for host in self.hosts.values() for line in host.asked.copy() if line.startswith(f"{kind} ")}

    def pairs(self) -> set[str]:
        """Return each backend's server that has asked for its gate as agents are asked."""
        return {line.split(" ")[3] for line in self.asked("gate")}

    def settled(self) -> None:
        """Wait until every server has passed its checks: before the first one HAProxy counts it as up."""
        checked = {
            f"{each['name']}/{server['name']}"
            for each in self.plan["backends"]
            for server in each["servers"]
            if not server["track"] and each["gate_port"]
        }
        awaited(lambda: self.pairs() >= checked, lambda: checked - self.pairs())
        self.wait(lambda states: set(states.values()) == {"UP"})


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


@contextlib.contextmanager
def gateway(place: Path, package: str, instances: Any, has_olds: bool = False, **keys: Any) -> Iterator[Gateway]:
    """Run a gateway of a version in front of hosts; ``instances`` gives those of each host.

    With ``has_olds``, an old server stands beside the first instance of each host: ``old-2`` on ``gpu-2``.
    """
    ports = {"rest": free_port(), "grpc": free_port(), "gate": free_port()}
    served = {"grpc": ports["grpc"], "rest": ports["rest"]}
    numbers = range(2, 2 + len(instances))
    fleet = {
        f"gpu-{number}": cases.host(number, *[{**each, "ports": served} for each in some], gate_port=ports["gate"])
        for number, some in zip(numbers, instances)
    }
    names = {each["name"] for some in instances for each in some}
    one = free_port()
    old_ports = {"rest": free_port(), "grpc": free_port(), "gate": free_port()}
    if has_olds:
        keys["gateway_adopted"] = [
            {
                "host": host,
                "instance": entry["instances"][0]["name"],
                "ports": {"grpc": old_ports["grpc"], "rest": old_ports["rest"]},
                "models": {model: [7] for model in entry["instances"][0]["models"]},
            }
            for host, entry in fleet.items()
        ]
    settings = {
        "gateway_rest_port": free_port(),
        "gateway_status_port": free_port(),
        "gateway_address": "127.0.0.1",
        "gateway_log": "",
        "gateway_slowstart_s": 0,
        "gateway_max_connections": 1000,
        "gateway_threads": 2,
        "gateway_grpc_ports": dict.fromkeys(names, one),
        # Objectives are of no concern here.
        "gateway_queue_share": 10,
        **keys,
    }
    plan = cases.planned(fleet, package, **settings)
    secrets = {name: value for name, value in keys.items() if name.startswith("gateway_")}
    config = cases.laid_down(plan, place, [("10.0.0.", "127.0.0."), *CHECKS], **secrets)
    hosts = {f"gpu-{number}": Host(number, ports) for number in numbers}
    for number in numbers if has_olds else ():
        hosts[f"old-{number}"] = old = Host(number, old_ports)
        old.name, old.script.grpc_reply = f"old-{number}", f"old-{number}".encode()
    running = Gateway(place, plan, hosts)
    with _loop() as loop:
        for host in hosts.values():
            asyncio.run_coroutine_threadsafe(host.open(), loop).result(LONG_S)
        with _running(package, config, running):
            yield running


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result(LONG_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def _running(package: str, config: Path, running: Gateway) -> Iterator[None]:
    with (config.parent / "output").open("wb") as output:
        process = subprocess.Popen([haproxies.program(package), "-db", "-f", str(config)], stdout=output, stderr=output)
    try:
        awaited(lambda: process.poll() is not None or running.answers(), running.said)
        assert process.poll() is None, running.said()
        yield
    finally:
        process.kill()
        process.wait()


def field(number: int, value: bytes | int) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


def model_spec(name: str, version: int = 0, label: str = "") -> bytes:
    """Return a ModelSpec, with a signature's name before the label, as clients write it."""
    number = field(2, field(1, version)) if version else b""
    return (
        field(1, name.encode()) + number + field(3, b"serving_default") + (field(4, label.encode()) if label else b"")
    )


def message(body: bytes, compressed: bool = False) -> bytes:
    """Return a message as gRPC frames it."""
    return struct.pack(">BI", compressed, len(body)) + body


def predict(name: str, version: int = 0, label: str = "", size: int = 10) -> bytes:
    """Return a PredictRequest with an input of ``size`` bytes."""
    return message(field(1, model_spec(name, version, label)) + field(2, b"x" * size))


def grpc_call(port: int, method: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Send one call over a connection of its own, and return the payloads of all frames of its answer."""
    names = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "gateway"}
    names |= {"content-type": "application/grpc", "te": "trailers", **headers}
    block = b"".join(literal(name.encode(), value.encode()) for name, value in names.items())
    with socket.create_connection(("127.0.0.1", port), LONG_S) as line:
        # A window for everything: this client gives none back.
        line.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))
        line.sendall(frame(HEADERS, END_HEADERS, 1, block))
        for start in range(0, len(body), 16384):
            part = body[start : start + 16384]
            line.sendall(frame(DATA, END_STREAM * (start + len(part) == len(body)), 1, part))
        return _answer(line)


def _answer(line: socket.socket) -> bytes:
    stream = line.makefile("rb")
    found = b""
    while head := stream.read(9):
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = stream.read(size)
        if int.from_bytes(head[5:], "big") == 1:
            found += payload
            if (kind in (DATA, HEADERS) and flags & END_STREAM) or kind == 3:
                break
    return found
