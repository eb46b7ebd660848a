# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The reference server as a process of this machine, without a container, and what benchmarks ask it.

The lab's runtime has to be importable (lab_models.importable()), because gRPC and the messages come from it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import lab_models

REFERENCE_SERVER = lab_models.ROOT / "lab" / "reference_server"
START_S = 120
CALL_S = 60
PAUSE_S = 0.02  # between two looks whether something has happened
ONE_THREAD = ("--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1")


def rss_mib(pid: int) -> float:
    """The memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads so far, by the kernel's clock of that process (see clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


class LocalServer:
    """A running server. `code` is the folder of the reference server: another one compares two of its releases."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        cpu: int | None = None,
        code: Path = REFERENCE_SERVER,
    ) -> None:
        self.grpc_port, self.rest_port = _free_port(), _free_port()
        self._output = folder / f"server-{self.grpc_port}.log"
        launcher = code / "bin" / "tensorflow_model_server"
        monitoring = folder / "monitoring.config"
        monitoring.write_text("prometheus_config { enable: true }\n", encoding="utf-8")
        command: list[str | Path] = [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]
        command += [launcher, f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}", *flags]
        command += [f"--monitoring_config_file={monitoring}"]
        places = {"TFS_REFERENCE_LIB": str(code), "TFS_REFERENCE_RUNTIME": str(lab_models.RUNTIME)}
        with open(self._output, "wb") as output:
            self._process = subprocess.Popen(
                command, env={**os.environ, **places, **(environment or {})}, stdout=output, stderr=subprocess.STDOUT
            )
        self.await_log("Exporting HTTP/REST API at:")
        self._channels: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def await_log(self, text: str) -> None:
        deadline = time.monotonic() + START_S
        while text not in (log := self._output.read_text(encoding="utf-8", errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"the server never said {text!r}:\n{log[-2000:]}")
            time.sleep(PAUSE_S)

    # -- what it has used --------------------------------------------------------------------------------------------

    def rss_mib(self) -> float:
        return rss_mib(self.pid)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def sums(self, *names: str) -> dict[str, float]:
        """The sums of histograms and counters of the Prometheus page, over all labels, by the ends of their names."""
        found = dict.fromkeys(names, 0.0)
        for line in self._page().splitlines():
            series, _, value = line.rpartition(" ")
            name = series.partition("{")[0].rpartition(":")[2]
            if name in found and not line.startswith("#"):
                found[name] += float(value)
        return found

    def _page(self) -> str:
        connection = RestConnection(self.rest_port)
        return connection.call(b"GET /monitoring/prometheus/metrics HTTP/1.1\r\nHost: lab\r\n\r\n").decode()

    # -- its models --------------------------------------------------------------------------------------------------

    def serve(self, name: str, base_path: Path, version: int) -> None:
        """Serve this version and no other; returns when that is so."""
        from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(
            name=name, base_path=str(base_path), model_platform="tensorflow"
        )
        config.model_version_policy.specific.versions.append(version)
        stub = model_service_pb2_grpc.ModelServiceStub(self._channel())
        answer = stub.HandleReloadConfigRequest(request, timeout=CALL_S)
        if answer.status.error_code:
            raise SystemExit(f"the server refused version {version} of {name}: {answer.status.error_message}")
        self._await_only(name, version)

    def _await_only(self, name: str, version: int) -> None:
        from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        stub = model_service_pb2_grpc.ModelServiceStub(self._channel())
        states = get_model_status_pb2.ModelVersionStatus
        deadline = time.monotonic() + CALL_S
        while time.monotonic() < deadline:
            found = {one.version: one.state for one in stub.GetModelStatus(request).model_version_status}
            if version in found and all(
                state == (states.AVAILABLE if one == version else states.END) for one, state in found.items()
            ):
                return
            time.sleep(PAUSE_S)
        raise SystemExit(f"version {version} of {name} is not the only one: {found}")

    def _channel(self) -> Any:
        import grpc

        return self._channels.setdefault("own", grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}"))


@contextmanager
def running(folder: Path, *flags: str, **options: Any) -> Iterator[LocalServer]:
    """A LocalServer that ends with the block."""
    server = LocalServer(folder, *flags, **options)
    try:
        yield server
    finally:
        server.stop()


class RestConnection:
    """One kept-alive connection that sends ready bytes: the client shares the machine with the server it measures."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), CALL_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, request: bytes) -> bytes:
        """The body of the answer; ends the program when it is no success."""
        self._socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += self._more()
        if b" 200 " not in head[:16]:
            raise SystemExit(f"the server answered {head[:100]!r}: {body[:500]!r}")
        return body

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 16)
        if not part:
            raise SystemExit("the server closed the connection in the middle of an answer")
        return part


def rest_request(model: str, body: bytes) -> bytes:
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: lab\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def grpc_request(model: str, inputs: Mapping[str, Any]) -> bytes:
    """A PredictRequest of NumPy arrays by name, their values by buffer."""
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import predict_pb2

    kinds = {"float32": types_pb2.DT_FLOAT, "int64": types_pb2.DT_INT64}
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    for name, array in inputs.items():
        tensor = request.inputs[name]
        tensor.dtype = kinds[array.dtype.name]
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.tobytes()
    return request.SerializeToString()


def write_config(path: Path, base_paths: Mapping[str, Path]) -> str:
    """The flag for a file that lists these models."""
    models: Sequence[str] = [
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}'
        for name, base in base_paths.items()
    ]
    path.write_text(f"model_config_list {{ {' '.join(models)} }}\n", encoding="utf-8")
    return f"--model_config_file={path}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
