# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What hot swaps of a version cost: memory that they leave behind, and latency while one is under way.

Memory after many swaps, with jemalloc as the plan sets it and with glibc's allocator: one reference server each, on the
real TensorFlow runtime, as a process of this machine. A swap loads the other one of two versions, unloads the first,
and answers some requests. Whatever a swap leaves behind shows as growth.

Latency: the collection's load generator sends to one server, in blocks with swaps, one after another without a pause,
and in blocks without.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, lab_models, local_load, local_server
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["memory", "latency"], help="half of it")
    only = parser.parse_args().only
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("9 minutes" if only is None else "6 minutes" if only == "memory" else "3 minutes"), flush=True)
    if only != "latency":
        print(memory(), flush=True)
    if only != "memory":
        print(latency(), flush=True)
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
    server.serve(MODEL, lab_models.FOLDER / MODEL, version)
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
        flag = local_server.write_config(folder / "models.config", {MODEL: lab_models.FOLDER / MODEL})
        flags = (flag, *local_server.ONE_THREAD)
        cpu = local_load.server_cpu()
        with local_server.running(folder, *flags, environment=_jemalloc(), cpu=cpu) as server:
            os.sched_setaffinity(0, local_load.client_cpus())
            _swapped(server, 1, _request())
            versions = cycle((2, 1))
            sides = part("plugin_utils.measure.interleave").order(PAIRS, seed=1)
            blocks = [
                _block(folder / str(number), server, versions if side == "b" else None)
                for number, side in enumerate(sides)
            ]
    return compared([each for each in blocks if not each.swaps], [each for each in blocks if each.swaps])


def compared(steady: list[Block], swapping: list[Block]) -> str:
    seconds = part("plugin_utils.measure.series").seconds
    found = part("plugin_utils.measure.comparison").compare(
        *([seconds(each.result) for each in side] for side in (steady, swapping)), interleaved=True
    )
    rows = [_row("without swaps", steady), _row("with swaps", swapping)]
    title = (
        f"Latency of {MODEL} at {RATE:g} requests a second (constant, REST, one item each), {PAIRS} blocks of "
        f"{BLOCK_S} s a side, in turns; swaps one after another without a pause"
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


def _block(folder: Path, server: local_server.LocalServer, versions: Iterator[int] | None) -> Block:
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps(_spec(server)), encoding="utf-8")
    run = part("module_utils.load.run")
    with _swaps(server, versions) if versions else nullcontext([]) as swaps:
        code = run.run(folder / "spec.json", folder)
    if code != run.DONE:
        raise SystemExit("the load generator failed; the figures would mean nothing")
    return Block(json.loads((folder / "result.json").read_text(encoding="utf-8")), len(swaps))


@contextmanager
def _swaps(server: local_server.LocalServer, versions: Iterator[int]) -> Iterator[list[int]]:
    """The versions that each became the only one, until the block ends."""
    over = threading.Event()
    done: list[int] = []

    def swap() -> None:
        while not over.is_set():
            done.append(next(versions))
            server.serve(MODEL, lab_models.FOLDER / MODEL, done[-1])

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def _spec(server: local_server.LocalServer) -> dict[str, Any]:
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
            "rest": server.rest_port,
            "grpc": server.grpc_port,
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
