# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the reference server costs beside the TensorFlow runtime in it: CPU time of a small request, REST and gRPC.

The server runs on a core of its own as a process of this machine. What the runtime takes of that is measured apart, by
the same calls on the same core without a server. `--before CHECKOUT` measures another checkout's server in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, lab_models, local_server

MODEL = "ranker"  # nine inputs, so much to decode for little to compute
REQUESTS = 640  # of one measurement
ROUNDS = 7
MANY = 16
THREADS = 64  # of REST and of gRPC: no caller waits for one
BATCHING = """\
max_batch_size { value: 32 }
batch_timeout_micros { value: 0 }
num_batch_threads { value: 1 }
max_enqueued_batches { value: 100 }
"""


class Case(NamedTuple):
    protocol: str
    connections: int
    batching: bool

    @property
    def title(self) -> str:
        callers = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        return f"{self.protocol}, {callers}{', batching' if self.batching else ''}"


CASES = [Case(protocol, *rest) for protocol in ("REST", "gRPC") for rest in ((1, False), (MANY, False), (MANY, True))]


class Sample(NamedTuple):
    micros: float  # CPU time of the server for a request
    per_second: float
    rows: float  # in a batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout whose reference server is measured beside this one")
    before = parser.parse_args().before
    lab_models.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes"), flush=True)
    codes = {"now": local_server.REFERENCE_SERVER}
    if before:
        codes["before"] = before / "lab" / "reference_server"
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch, ExitStack() as stack:
        measured, alone = measure(codes, Path(scratch), stack)
    print(report(measured, alone))
    return 0


def measure(
    codes: dict[str, Path], scratch: Path, stack: ExitStack
) -> tuple[dict[tuple[str, Case], list[Sample]], list[float]]:
    """The samples of each round, and the CPU microseconds of a call without a server."""
    clients, server_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    sample = _sample()
    os.sched_setaffinity(0, {server_cpu})
    call = _runtime(sample)  # its threads stay where they begin
    servers = _servers(codes, scratch, server_cpu, stack)
    senders = {(side, case): _senders(servers[side, case.batching], case, sample) for side in codes for case in CASES}
    found: dict[tuple[str, Case], list[Sample]] = {key: [] for key in senders}
    alone = []
    for number in range(-1, ROUNDS):  # the round before the first warms all of them up
        os.sched_setaffinity(0, {server_cpu})
        alone.append(_cpu_micros(call))
        os.sched_setaffinity(0, {clients})
        for side, case in senders if number % 2 else reversed(list(senders)):
            one = _measured(servers[side, case.batching], senders[side, case])
            if number >= 0:
                found[side, case].append(one)
    return found, alone[1:]


def report(found: dict[tuple[str, Case], list[Sample]], alone: list[float]) -> str:
    rows = []
    for case in CASES:
        now = found["now", case]
        micros = [sample.micros for sample in now]
        own = [total - runtime for total, runtime in zip(micros, alone)]
        batch = f"{figures.median([sample.rows for sample in now]):.1f}" if case.batching else "1"
        row = [case.title, batch, f"{figures.median([sample.per_second for sample in now]):.0f}", _micros(micros)]
        row.append("" if case.batching else _micros(own))  # a batch of n is not n times the call alone
        if ("before", case) in found:
            earlier = [sample.micros for sample in found["before", case]]
            row += [_micros(earlier), figures.compared(figures.paired(micros, earlier))]
        rows.append(row)
    title = (
        f"CPU us of a request of {MODEL} with one item; {ROUNDS} rounds of {REQUESTS} requests: median (min-max). The "
        f"runtime alone: {_micros(alone)}"
    )
    header = ["", "rows a batch", "requests/s", "CPU us a request", "beside the runtime"]
    if any(side == "before" for side, _ in found):
        header += ["before", "now / before"]
    return figures.table(title, header, rows)


def _servers(
    codes: dict[str, Path], scratch: Path, cpu: int, stack: ExitStack
) -> dict[tuple[str, bool], local_server.LocalServer]:
    parameters = scratch / "batching.config"
    parameters.write_text(BATCHING, encoding="utf-8")
    flags = [
        local_server.write_config(scratch / "models.config", {MODEL: lab_models.SERVED / MODEL}),
        *local_server.ONE_THREAD,
        f"--rest_api_num_threads={THREADS}",
        f"--grpc_max_threads={THREADS}",
    ]
    batching = ["--enable_batching", f"--batching_parameters_file={parameters}"]
    return {
        (side, batches): stack.enter_context(
            local_server.running(scratch, *flags, *(batching if batches else []), cpu=cpu, code=code)
        )
        for side, code in codes.items()
        for batches in (False, True)
    }


def _senders(server: local_server.LocalServer, case: Case, sample: dict[str, Any]) -> list[Callable[[], Any]]:
    """One function for each connection, which sends the request and waits for the answer."""
    import grpc
    import saving

    if case.protocol == "gRPC":
        request = local_server.grpc_request(MODEL, sample)
        own = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
        channels = (grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", own) for _ in range(case.connections))
        calls = [channel.unary_unary("/tensorflow.serving.PredictionService/Predict") for channel in channels]
        return [lambda call=call: call(request, timeout=local_server.CALL_S) for call in calls]
    request = local_server.rest_request(MODEL, json.dumps({"instances": saving.instances(sample)}).encode())
    connections = [local_server.RestConnection(server.rest_port) for _ in range(case.connections)]
    return [lambda connection=connection: connection.call(request) for connection in connections]


def _measured(server: local_server.LocalServer, senders: list[Callable[[], Any]]) -> Sample:
    names = ("processed_batch_size_sum", "wrapped_run_count")
    counts, cpu, started = server.sums(*names), server.cpu_seconds(), time.perf_counter()
    each = REQUESTS // len(senders)
    with ThreadPoolExecutor(len(senders)) as pool:
        for done in [pool.submit(_repeat, sender, each) for sender in senders]:
            done.result()
    wall, cpu = time.perf_counter() - started, server.cpu_seconds() - cpu
    rows, runs = (after - counts[name] for name, after in server.sums(*names).items())
    return Sample(cpu / REQUESTS * 1e6, REQUESTS / wall, rows / runs if runs else 1.0)


def _repeat(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


def _cpu_micros(call: Callable[[], Any]) -> float:
    started = time.process_time()
    _repeat(call, REQUESTS)
    return (time.process_time() - started) / REQUESTS * 1e6


def _runtime(sample: dict[str, Any]) -> Callable[[], Any]:
    """The same call by the server's own way into the runtime, and nothing else of the server."""
    sys.path.insert(0, str(local_server.REFERENCE_SERVER))
    from tfs_reference import servable, textproto

    config = textproto.new("ConfigProto")
    config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
    session = servable.Session(str(lab_models.SERVED / MODEL / "1"), ["serve"], config)
    signature = session.signatures[servable.DEFAULT_SIGNATURE]
    feeds = {signature.inputs[name].name: array for name, array in sample.items()}
    fetches = [tensor.name for tensor in signature.outputs.values()]
    return lambda: session.run(feeds, fetches)


def _sample() -> dict[str, Any]:
    import train

    return {name: array[:1] for name, array in train.MODELS[MODEL].sample().items()}


def _micros(samples: list[float]) -> str:
    return f"{figures.median(samples):.0f} ({min(samples):.0f}-{max(samples):.0f})"


if __name__ == "__main__":
    sys.exit(main())
