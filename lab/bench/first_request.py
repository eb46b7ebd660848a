# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The first request after a model was loaded: a version without a warm-up file against the same one with it.

The first run of a graph optimises it and builds what runs it. With a warm-up file that happens before the version is
available; without one, the first caller waits for it. Both are loaded in turns into one reference server, on the real
TensorFlow runtime, as a process of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from support import figures, lab_models, local_server

MODELS = {"ranker": lab_models.SERVED, "wide_ranker": lab_models.FOLDER}
ROUNDS = 10
STEADY = 20  # requests after the first, of which the median is what a request takes
TARGET = 20  # times faster


def main() -> int:
    lab_models.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes"), flush=True)
    measured = {}
    for model, folder in MODELS.items():
        with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch:
            measured[model] = measure(model, folder, Path(scratch))
    print(report(measured))
    return 0


def measure(model: str, folder: Path, scratch: Path) -> dict[str, list[float]]:
    """Milliseconds of each round: of the first request ("cold", "warm"), of later ones ("steady"), of the load."""
    versions = 2 * ROUNDS
    request = _prepare(model, folder, scratch, versions)
    found: dict[str, list[float]] = {"cold": [], "warm": [], "steady": [], "load cold": [], "load warm": []}
    flag = local_server.write_config(scratch / "models.config", {model: scratch / model})
    with local_server.running(scratch, flag, *local_server.ONE_THREAD) as server:
        for number in range(ROUNDS):
            order = ("cold", "warm") if number % 2 else ("warm", "cold")
            for side in order:
                started = time.perf_counter()
                server.serve(model, scratch / model, _version(number, side))
                found[f"load {side}"].append((time.perf_counter() - started) * 1000)
                connection = local_server.RestConnection(server.rest_port)
                first, *later = (_milliseconds(connection, request) for _ in range(1 + STEADY))
                found[side].append(first)
            found["steady"].append(figures.median(later))
    return found


def report(measured: dict[str, dict[str, list[float]]]) -> str:
    rows = []
    for model, found in measured.items():
        ratios = figures.paired(found["cold"], found["warm"])
        columns = [figures.seconds(found[name]) for name in ("cold", "warm", "steady", "load cold", "load warm")]
        verdict = figures.verdict(figures.median(ratios), at_least=TARGET)
        rows.append((model, *columns, figures.compared(ratios), verdict))
    title = (
        f"The first request of a version, 5 items by REST, in ms: median (min-max) of {ROUNDS} alternated rounds in "
        "one server, one thread for each pool"
    )
    header = ("model", "cold", "with warm-up", "later ones", "load, cold", "load with warm-up", "cold / warm", "target")
    return figures.table(title, header, rows)


def _version(number: int, side: str) -> int:
    return 2 * number + (1 if side == "cold" else 2)


def _prepare(model: str, folder: Path, scratch: Path, versions: int) -> bytes:
    """Version 1 under many numbers, the even ones with a warm-up file; returns the request that is in it, for REST."""
    import saving
    import train
    import train_bench

    sample = {**train.MODELS, **train_bench.MODELS}[model].sample()
    for version in range(1, versions + 1):
        copy = scratch / model / str(version)
        shutil.copytree(folder / model / "1", copy, copy_function=os.link)
        if version % 2 == 0:
            saving.write_warmup(model, copy, sample)
    return local_server.rest_request(model, json.dumps({"instances": saving.instances(sample)}).encode())


def _milliseconds(connection: local_server.RestConnection, request: bytes) -> float:
    started = time.perf_counter()
    connection.call(request)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
