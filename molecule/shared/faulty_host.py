# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A serving host to break and mend: its servers, requests beside a test, and the means by which faults are injected.

Each means is a context: what it does is undone at its end, and the host serves again.
"""

from __future__ import annotations

import http.client
import json
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from callers import await_that

CONFIG, MODELS, RUN = "/etc/tfserving", "/var/lib/tfserving/models", "/run/fault"
PATIENCE_S = 10


@dataclass(frozen=True)
class Server:
    """An instance as a caller sees it who has no part in the host."""

    address: str
    name: str
    port: int
    model: str
    rows: list[Any]

    @property
    def unit(self) -> str:
        return f"tfserving@{self.name}.service"

    @property
    def grpc_port(self) -> int:
        return self.port - 1

    def states(self) -> dict[str, str]:
        """Return the state of each version, nothing where it does not answer."""
        wire = http.client.HTTPConnection(self.address, self.port, timeout=PATIENCE_S)
        try:
            wire.request("GET", f"/v1/models/{self.model}")
            found = json.loads(wire.getresponse().read())
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            wire.close()
        return {row["version"]: row["state"] for row in found.get("model_version_status", ())}

    def serves(self, version: str = "1") -> bool:
        return self.states().get(version) == "AVAILABLE"

    def body(self, rows: int = 1) -> bytes:
        """Return a request of so many rows."""
        often = -(-rows // len(self.rows))
        return json.dumps({"instances": (self.rows * often)[:rows]}).encode()


class Caller:
    """Calls a server over one connection for as long as that holds, and never gives up."""

    def __init__(self, server: Server, where: str = "") -> None:
        self.server, self.path = server, f"/v1/models/{server.model}{where}:predict"
        self.wire = http.client.HTTPConnection(server.address, server.port, timeout=PATIENCE_S)

    def call(self, body: bytes) -> int:
        """Return the status of the answer, 0 where there is none."""
        try:
            self.wire.request("POST", self.path, body)
            answer = self.wire.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.wire.close()
            return 0
        return answer.status


@contextmanager
def load(
    server: Server, bodies: Sequence[bytes], callers: int = 2, pause_s: float = 0.0, where: str = "", least: int = 5
) -> Iterator[list[int]]:
    """Let callers send the bodies in turn until the end, which begins once some have ended. Yield their statuses."""
    stop, statuses = threading.Event(), list[int]()

    def send() -> None:
        caller, number = Caller(server, where), 0
        while not stop.is_set():
            statuses.append(caller.call(bodies[number % len(bodies)]))
            number += 1
            stop.wait(pause_s if statuses[-1] else 0.1)
        caller.wire.close()

    threads = [threading.Thread(target=send, daemon=True) for _number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        await_that(lambda: len(statuses) >= least, "calls end")
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Machine:
    """The host: what is done to it here is undone at the end of each context."""

    def __init__(self, host: Any, servers: dict[str, Server]) -> None:
        self.host, self.servers = host, servers

    def run(self, command: str) -> str:
        return str(self.host.check_output(command))

    def serves(self) -> bool:
        return all(server.serves() for server in self.servers.values())

    def heals(self) -> None:
        """Wait until all servers answer again."""
        await_that(self.serves, "all servers answer again")

    def pid(self, name: str) -> int:
        return int(self.run(f"systemctl show --value -p MainPID tfserving@{name}"))

    def opened(self, name: str) -> int:
        return int(self.run(f"ls /proc/{self.pid(name)}/fd | wc -l"))

    def listens(self, port: int) -> bool:
        return bool(self.run(f"ss -Hltn 'sport = :{port}'"))

    def restart(self, *names: str) -> None:
        units = " ".join(f"tfserving@{name}" for name in names)
        # A unit that is restarted more than five times in ten minutes is not started again otherwise.
        self.run(f"systemctl daemon-reload && systemctl reset-failed {units}; systemctl restart {units}")

    @contextmanager
    def drop_in(self, name: str, text: str) -> Iterator[None]:
        """Run an instance with other settings of its unit until the end."""
        folder = f"/run/systemd/system/tfserving@{name}.service.d"
        self.run(f"mkdir -p {folder} && printf %s {shlex.quote(text)} > {folder}/99-fault.conf")
        try:
            self.restart(name)
            yield
        finally:
            self.run(f"rm -r {folder}")
            self.restart(name)
            self.heals()

    @contextmanager
    def flags(self, name: str, *changes: str) -> Iterator[None]:
        """Run an instance with other flags until the end; a change that is a name alone takes the flag out."""
        unit = self.run(f"systemctl show --value -p ExecStart tfserving@{name}")
        words = unit.partition(" argv[]=")[2].partition(" ; ")[0].split()
        names = {change.partition("=")[0] for change in changes}
        kept = [word for word in words if word.lstrip("-").partition("=")[0] not in names]
        line = " ".join([*kept, *(f"--{change}" for change in changes if "=" in change)])
        with self.drop_in(name, f"[Service]\nExecStart=\nExecStart={line}\n"):
            yield

    @contextmanager
    def file(self, path: str, text: str) -> Iterator[None]:
        """Let a file have another text until the end."""
        self.run(f"mkdir -p {RUN} && cp --archive {path} {RUN}/kept && printf %s {shlex.quote(text)} > {path}")
        try:
            yield
        finally:
            self.run(f"cp --archive {RUN}/kept {path} && rm {RUN}/kept")

    @contextmanager
    def batching(self, restart_waits: bool = True, **fields: Any) -> Iterator[None]:
        """Let the second instance form batches in another way until the end."""
        sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in fields.pop("allowed_batch_sizes", ()))
        text = "".join(f"{name} {{ value: {value} }}\n" for name, value in fields.items()) + sizes
        try:
            with self.file(f"{CONFIG}/batched/batching.config", text):
                self.restart("batched")
                if restart_waits:
                    self.heals()
                yield
        finally:
            self.restart("batched")
            self.heals()

    @contextmanager
    def moved(self, path: str, to: str) -> Iterator[None]:
        """Let a file or folder have another name until the end."""
        self.run(f"mv {path} {to}")
        try:
            yield
        finally:
            self.run(f"rm -rf {path} && mv {to} {path}")
            self.heals()

    @contextmanager
    def beside(self, program: str, *options: str, unit: str = "fault") -> Iterator[None]:
        """Run a Python program on the host until the end."""
        words = " ".join(options)
        self.run(f"systemd-run --quiet --unit={unit} -p Type=exec {words} python3 -c {shlex.quote(program)}")
        try:
            yield
        finally:
            self.run(f"systemctl stop {unit}; systemctl reset-failed {unit} 2> /dev/null || true")
