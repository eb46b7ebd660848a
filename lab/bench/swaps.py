# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What hot swaps of a version cost: memory that they leave behind, and latency while one is under way.

Memory after many swaps, with jemalloc as the plan sets it and with glibc's allocator: one reference server each, on the
real TensorFlow runtime, as a process of this machine. A swap loads the other one of two versions, unloads the first,
and answers some requests. Whatever a swap leaves behind shows as growth.

Latency: the collection's load generator sends in blocks with swaps, one after another, and in blocks without. To one
server, which loads beside its calls; and through a gateway to two, of which one leaves the traffic before it loads, as
hosts do in a roll-out.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, lab_models, local_gateway, local_load, local_server
from support.local_load import part

MODEL = "wide_ranker"  # 12 MiB of weights in many tensors
SWAPS = 50
EARLY = 5  # by then the first loads and the first requests have taken what every process takes
SHOWN = (EARLY, 10, 20, 30, 40, SWAPS)
ROUNDS = 3
REQUESTS = 20
TARGET = 1.05  # RSS after all swaps / after the first ones

RATE, CONNECTIONS = 50.0, 4  # requests a second by REST, of one item each
PAIRS, BLOCK_S, WARMUP_S = 6, 10, 1.0
TIMEOUT_S = 10.0
LATENCY_TARGET = 1.5  # p99 in blocks with swaps / in blocks without
STAYS, LEAVES = "gpu-2", "gpu-3"  # the hosts behind the gateway
HOSTS_THREADS = 16  # of a server for each protocol
HELD_S = 1.0  # between two swaps the host has its calls

TAKES = {None: "12 minutes", "memory": "6 minutes", "latency": "3 minutes", "gate": "3 minutes"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"memory": memory, "latency": latency, "gate": gate}
    parser.add_argument("--only", choices=parts, help="a part of it")
    only = parser.parse_args().only
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes(TAKES[only]), flush=True)
    for name, part_of_it in parts.items():
        if only in (None, name):
            print(part_of_it(), flush=True)
    return 0


# -- memory ------------------------------------------------------------------------------------------------------------


def memory() -> str:
    sides = {"jemalloc": _jemalloc(), "glibc": {}}
    request = _request()
    found: dict[str, list[dict[int, float]]] = {side: [] for side in sides}
    for number in range(ROUNDS):
        for side in sides if number % 2 else reversed(sides):
            found[side].append(measure(sides[side], request))
    return report(found, sides["jemalloc"])


def measure(environment: Mapping[str, str], request: bytes) -> dict[int, float]:
    """RSS in MiB after each swap, in a server of its own."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch:
        flag = local_server.write_config(Path(scratch) / "models.config", {MODEL: lab_models.FOLDER / MODEL})
        flags = (flag, *local_server.ONE_THREAD)
        with local_server.running(Path(scratch), *flags, environment=environment) as server:
            return {number: _swapped(server, 1 + number % 2, request) for number in range(1, SWAPS + 1)}


def report(found: dict[str, list[dict[int, float]]], environment: Mapping[str, str]) -> str:
    rows = []
    for side, runs in found.items():
        growth = figures.paired([run[SWAPS] for run in runs], [run[EARLY] for run in runs])
        verdict = figures.verdict(figures.median(growth), at_most=TARGET) if side == "jemalloc" else ""
        after = (f"{figures.median([run[number] for run in runs]):.0f}" for number in SHOWN)
        rows.append((side, *after, figures.compared(growth), verdict))
    title = (
        f"RSS in MiB after so many swaps of {MODEL}, median of {ROUNDS} servers in turns; growth: median (min-max) of "
        f"after {SWAPS} / after {EARLY}"
    )
    header = ("allocator", *map(str, SHOWN), f"after {SWAPS} / after {EARLY}", "target")
    return f"{figures.table(title, header, rows)}\njemalloc: {environment['MALLOC_CONF']}"


def _swapped(server: local_server.LocalServer, version: int, request: bytes) -> float:
    _serve(server, version)
    connection = local_server.RestConnection(server.rest_port)
    for _ in range(REQUESTS):
        connection.call(request)
    return server.rss_mib()


def _jemalloc() -> dict[str, str]:
    """The environment with which a plan starts a server."""
    sys.path.insert(0, str(lab_models.ROOT / "collections"))
    from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import jemalloc

    environment = jemalloc.environment("balanced", None, platform.machine())
    if not os.path.exists(environment["LD_PRELOAD"]):
        raise SystemExit(f"{environment['LD_PRELOAD']} is missing; run: apt-get install libjemalloc2")
    return environment


def _request() -> bytes:
    import saving
    import train_bench

    body = {"instances": saving.instances(train_bench.MODELS[MODEL].sample())}
    return local_server.rest_request(MODEL, json.dumps(body).encode())


# -- latency -----------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """What the load generator found in a block, and how many swaps ended in it."""

    result: dict[str, Any]
    swaps: int


def latency() -> str:
    """Blocks in turns on one server: it has a CPU of its own where there are two, the load generator the others."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch:
        folder = Path(scratch)
        with _server(folder, local_load.server_cpu()) as server:
            os.sched_setaffinity(0, local_load.client_cpus())
            blocks = _blocks(folder, server.rest_port, lambda version: _serve(server, version))
    return compared(*blocks, "of one server, which swaps one after another without a pause")


def gate() -> str:
    """Blocks in turns on two servers behind a gateway: one has the last CPU and swaps, all else the others."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-bench-")))
        cpus = {STAYS: min(os.sched_getaffinity(0)), LEAVES: local_load.server_cpu()}
        servers = {host: stack.enter_context(_server(_made(folder / host), cpu)) for host, cpu in cpus.items()}
        companions = _companions(folder, servers, stack)
        gateway = stack.enter_context(_gateway(folder, servers, companions))
        os.sched_setaffinity(0, local_load.client_cpus())

        def swap(version: int) -> None:
            companions[LEAVES].drain(MODEL)
            gateway.await_calls(LEAVES, gets_calls=False)
            _swapped(servers[LEAVES], version, _request())
            companions[LEAVES].open(MODEL)
            gateway.await_calls(LEAVES, gets_calls=True)
            time.sleep(HELD_S)

        blocks = _blocks(folder, gateway.rest_port, swap)
    return compared(*blocks, "of two servers behind a gateway, of which one swaps behind its gate")


@contextmanager
def _server(folder: Path, cpu: int) -> Iterator[local_server.LocalServer]:
    """A server on a CPU that has answered some requests."""
    flag = local_server.write_config(folder / "models.config", {MODEL: lab_models.FOLDER / MODEL})
    with local_server.running(folder, flag, *local_server.ONE_THREAD, environment=_jemalloc(), cpu=cpu) as server:
        _swapped(server, 1, _request())
        yield server


def _companions(
    folder: Path, servers: Mapping[str, local_server.LocalServer], stack: ExitStack
) -> dict[str, local_gateway.Companion]:
    from ports import free_port

    port, found = free_port(), {}
    for host, server in servers.items():
        place, ports = _made(folder / f"{host}-gate"), local_load.ports(server)
        opened = local_gateway.companion(place, MODEL, ports, MODEL, 1, f"127.0.0.{_number(host)}", port)
        found[host] = stack.enter_context(opened)
    return found


@contextmanager
def _gateway(
    folder: Path, servers: Mapping[str, local_server.LocalServer], companions: Mapping[str, local_gateway.Companion]
) -> Iterator[local_gateway.Gateway]:
    import gateway_cases as cases
    import haproxies

    threads = dict.fromkeys(("grpc", "rest"), HOSTS_THREADS)
    fleet = {
        host: cases.host(
            _number(host),
            cases.instance(
                MODEL, (MODEL,), ports=local_load.ports(server), versions=[1], threads=threads, batching=None
            ),
            gate_port=companions[host].port,
        )
        for host, server in servers.items()
    }
    place, cpu = _made(folder / "gateway"), min(local_load.client_cpus())
    with (
        local_gateway.log(folder / "log") as log,
        local_gateway.running(place, haproxies.TRIXIE, fleet, log, cpu, "edge-1") as gateway,
    ):
        yield gateway


def _blocks(folder: Path, port: int, swap: Callable[[int], None]) -> tuple[list[Block], list[Block]]:
    """Blocks without swaps and blocks with them, in turns."""
    versions = cycle((2, 1))
    sides = part("plugin_utils.measure.interleave").order(PAIRS, seed=1)
    found: dict[str, list[Block]] = {"a": [], "b": []}
    for number, side in enumerate(sides):
        found[side].append(_block(_made(folder / f"block-{number}"), port, versions if side == "b" else None, swap))
    return found["a"], found["b"]


def compared(steady: list[Block], swapping: list[Block], which: str) -> str:
    seconds = part("plugin_utils.measure.series").seconds
    found = part("plugin_utils.measure.comparison").compare(
        *([seconds(each.result) for each in side] for side in (steady, swapping)), interleaved=True
    )
    rows = [_row("without swaps", steady), _row("with swaps", swapping)]
    title = (
        f"Latency {which}: {MODEL} at {RATE:g} requests a second (constant, REST, one item each), {PAIRS} blocks of "
        f"{BLOCK_S} s a side, in turns"
    )
    drawn = figures.table(title, ("", "p50 ms", "p99 ms", "requests", "failed", "swaps"), rows)
    if not found.p99:
        return f"{drawn}\n\n{found.verdict}: {found.reason}"
    met = figures.verdict(found.p99.value, at_most=LATENCY_TARGET)
    return f"{drawn}\n\nwith / without, 95 % interval: p99 {found.p99}, p50 {found.p50}; target for p99 {met}"


def _row(title: str, blocks: list[Block]) -> tuple[object, ...]:
    histograms = part("module_utils.load.histogram").Histogram
    whole = histograms()
    for each in blocks:
        whole.add(histograms.from_json(each.result["histogram"]))
    failed = sum(sum(each.result["errors"].values()) for each in blocks)
    latencies = (f"{whole.quantile(share) / 1000:.1f}" if whole.total else "none" for share in (0.5, 0.99))
    return (title, *latencies, whole.total + failed, failed, sum(each.swaps for each in blocks))


def _block(folder: Path, port: int, versions: Iterator[int] | None, swap: Callable[[int], None]) -> Block:
    (folder / "spec.json").write_text(json.dumps(_spec(port)), encoding="utf-8")
    run = part("module_utils.load.run")
    with _swaps(swap, versions) if versions else nullcontext([]) as swaps:
        code = run.run(folder / "spec.json", folder)
    if code != run.DONE:
        raise SystemExit("the load generator failed; the figures would mean nothing")
    return Block(json.loads((folder / "result.json").read_text(encoding="utf-8")), len(swaps))


@contextmanager
def _swaps(swap: Callable[[int], None], versions: Iterator[int]) -> Iterator[list[int]]:
    """The versions that each became the only one, until the block ends."""
    over = threading.Event()
    done: list[int] = []

    def keep_swapping() -> None:
        while not over.is_set():
            done.append(next(versions))
            swap(done[-1])

    with ThreadPoolExecutor(1) as beside:
        swapping = beside.submit(keep_swapping)
        try:
            yield done
        finally:
            over.set()
    swapping.result()


def _serve(server: local_server.LocalServer, version: int) -> None:
    server.serve(MODEL, lab_models.FOLDER / MODEL, version)


def _number(host: str) -> int:
    return int(host.rpartition("-")[2])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _spec(port: int) -> dict[str, Any]:
    known = json.loads((lab_models.FOLDER / MODEL / "known_answers.json").read_text(encoding="utf-8"))
    body = json.dumps({"instances": known["request"]["instances"][:1]}).encode()
    request = {
        "model": MODEL,
        "signature": "serving_default",
        "path": f"/v1/models/{MODEL}:predict",
        "weight": 1.0,
        "items": 1,
        "expect": None,  # two versions answer differently
        "copies": 1,
        "rest": base64.b64encode(body).decode(),
    }
    return {
        "schema": 1,
        "engine": "own",
        "protocol": "rest",
        "target": {
            "host": "127.0.0.1",
            "rest": port,
            "grpc": port,
            "tls": None,
            "metrics": None,
        },
        "requests": [request],
        "rate": RATE,
        "arrivals": "constant",
        "seed": 1,
        "warmup_s": WARMUP_S,
        "duration_s": BLOCK_S,
        "processes": 1,
        "connections": CONNECTIONS,
        "timeout_s": TIMEOUT_S,
        "start_in_s": 0.1,
    }


if __name__ == "__main__":
    sys.exit(main())
