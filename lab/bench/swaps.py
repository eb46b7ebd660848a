# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory after many swaps of a version, with jemalloc as the plan sets it and with glibc's allocator.

One reference server each, on the real TensorFlow runtime, as a process of this machine. A swap loads the other one of
two versions, unloads the first, and answers some requests. Whatever a swap leaves behind shows as growth.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from support import figures, lab_models, local_server

MODEL = "wide_ranker"  # 12 MiB of weights in many tensors
SWAPS = 50
EARLY = 5  # by then the first loads and the first requests have taken what every process takes
SHOWN = (EARLY, 10, 20, 30, 40, SWAPS)
ROUNDS = 3
REQUESTS = 20
TARGET = 1.05  # RSS after all swaps / after the first ones


def main() -> int:
    lab_models.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("6 minutes"), flush=True)
    sides = {"jemalloc": _jemalloc(), "glibc": {}}
    request = _request()
    found: dict[str, list[dict[int, float]]] = {side: [] for side in sides}
    for number in range(ROUNDS):
        for side in sides if number % 2 else reversed(sides):
            found[side].append(measure(sides[side], request))
    print(report(found, sides["jemalloc"]))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
