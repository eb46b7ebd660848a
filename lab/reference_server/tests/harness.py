# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts the server as users do (its launcher, its flags) and talks to it over its ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from ports import free_port

ROOT = Path(__file__).parents[1]
RUNTIME = Path(os.environ.get("TFS_REFERENCE_RUNTIME", ROOT.parents[1] / ".cache" / "tensorflow"))
LAUNCHER = ROOT / "bin" / "tensorflow_model_server"
# Seconds until something that should happen counts as not happening; a busy machine may stand still for twenty.
PATIENCE = 240


def eventually(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """The first true value of the condition; fails with `what` was awaited."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


def environment(lib: Path = ROOT) -> dict[str, str]:
    return {**os.environ, "TFS_REFERENCE_LIB": str(lib), "TFS_REFERENCE_RUNTIME": str(RUNTIME)}


def run_to_end(*flags: str, lib: Path = ROOT, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run the server until it ends by itself."""
    return subprocess.run(
        [LAUNCHER, *flags],
        env=environment(lib),
        capture_output=True,
        text=True,
        errors="replace",  # gRPC's messages may hold a raw socket address
        timeout=timeout,
        check=False,
    )


class Server:
    """A running server; `rest` and `grpc` ports are chosen unless given. Output goes to a file in `directory`."""

    def __init__(self, directory: Path, *flags: str, ready: bool = True, rest: int | None = None) -> None:
        self.grpc_port = free_port()
        self.rest_port = free_port() if rest is None else rest
        self.output = directory / f"server-{self.grpc_port}.log"
        ports = [f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}"]
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [LAUNCHER, *ports, *flags], env=environment(), stdout=output, stderr=subprocess.STDOUT
            )
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        if ready:
            self.await_log("Exporting HTTP/REST API at:")

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def await_log(self, text: str) -> None:
        def seen() -> bool:
            assert self.process.poll() is None, f"the server ended:\n{self.log()}"
            return text in self.log()

        eventually(seen, f"log line {text!r}")

    def stop(self) -> int:
        """End it the way systemd does; returns the status that a supervisor sees."""
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    # -- REST --------------------------------------------------------------------------------------------------------

    def http(
        self,
        path: str,
        body: Any = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> tuple[int, str]:
        """(status, text); a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.rest_port}{path}"
        request = urllib.request.Request(url, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.read().decode(errors="surrogateescape")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="surrogateescape")

    def json(self, path: str, body: Any = None) -> tuple[int, Any]:
        status, text = self.http(path, body)
        return status, json.loads(text)

    def predict(self, model: str, body: Any) -> tuple[int, Any]:
        return self.json(f"/v1/models/{model}:predict", body)

    def states(self, model: str) -> dict[int, str]:
        """State by version; empty for an unknown model."""
        status, answer = self.json(f"/v1/models/{model}")
        entries = answer["model_version_status"] if status == 200 else ()
        return {int(entry["version"]): entry["state"] for entry in entries}

    def await_states(self, model: str, wanted: dict[int, str]) -> None:
        eventually(lambda: self.states(model) == wanted, f"{model} in {wanted}, last seen {self.states(model)}")

    def metrics(self) -> str:
        return self.http("/monitoring/prometheus/metrics")[1]

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series of the Prometheus page, 0 when there is none."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.metrics().splitlines():
            match = re.fullmatch(re.escape(name) + r"\{(.*)\} (\S+)", line)
            if match and wanted <= set(match[1].split(",")):
                return float(match[2])
        return 0.0

    def cpu_seconds(self) -> float:
        """CPU time the process has used so far: shows that a request is at work."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def threads(self) -> list[str]:
        """The names of all threads, as the kernel knows them."""
        return [path.read_text().strip() for path in Path(f"/proc/{self.pid}/task").glob("*/comm")]


def model_config(name: str, base_path: Path | str, extra: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {extra} }}\n'


def write_config(path: Path, *models: str) -> Path:
    """Write a ModelServerConfig by rename, so that no poll sees half of it."""
    staged = path.with_suffix(".staged")
    staged.write_text("model_config_list {\n" + "".join(models) + "}\n")
    staged.rename(path)
    return path
