# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What it costs that the server cuts a request of 700 items into batches: its time and its CPU, against one batch.

Reference servers on one CPU, with the plan of the profile `balanced` and batches of 700, 175 and 32 items; one call at
a time. The answers have to be the same.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import Any

from support import figures, lab_models, local_load, local_server

MODEL = "wide_ranker"
ITEMS = 700
BATCHES = (700, 175, 32)
ROUNDS, CALLS = 9, 20
# The same numbers by sums of another order: what float32 keeps of them.
CLOSE = 1e-4


def main() -> int:
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes"), flush=True)
    request, times, cpus, answers = large_request(), {}, {}, {}
    with ExitStack() as stack:
        servers = {size: stack.enter_context(local_load.serving(MODEL, planned(size))) for size in BATCHES}
        connections = {size: local_server.RestConnection(server.rest_port) for size, server in servers.items()}
        for turn in range(ROUNDS + 1):
            for size in BATCHES if turn % 2 else BATCHES[::-1]:
                began, cpu = time.monotonic(), servers[size].cpu_seconds()
                for _ in range(CALLS):
                    answers[size] = json.loads(connections[size].call(request))
                if turn:  # the first round warms up
                    times.setdefault(size, []).append((time.monotonic() - began) / CALLS * 1000)
                    cpus.setdefault(size, []).append((servers[size].cpu_seconds() - cpu) / CALLS * 1000)
    print(report(times, cpus))
    return 0 if all(same(answers[size], answers[ITEMS]) for size in BATCHES) else 1


def planned(size: int) -> Any:
    """The plan of an instance whose batches have so many items, and that cuts what is larger."""
    cut = {"enable_large_batch_splitting": True, "max_execution_batch_size": size}
    return local_load.context(MODEL, batching={"max_batch_size": ITEMS, **(cut if size < ITEMS else {})}).planned()


def large_request() -> bytes:
    known = json.loads((lab_models.FOLDER / MODEL / "known_answers.json").read_text(encoding="utf-8"))["request"]
    rows = known["instances"]
    instances = [rows[number % len(rows)] for number in range(ITEMS)]
    return local_server.rest_request(MODEL, json.dumps({**known, "instances": instances}).encode())


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same, but for the last digits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and abs(one - other) <= CLOSE * max(1.0, abs(one)))


def report(times: dict[int, list[float]], cpus: dict[int, list[float]]) -> str:
    rows = [
        (
            f"{-(-ITEMS // size)} x {size}" if ITEMS % size == 0 else f"{-(-ITEMS // size)} of at most {size}",
            f"{figures.median(times[size]):.1f}",
            f"{figures.median(cpus[size]):.1f}",
            figures.compared(figures.paired(cpus[size], cpus[ITEMS])),
        )
        for size in BATCHES
    ]
    header = ("batches", "ms", "CPU ms of the server", "CPU, times that of one batch")
    title = f"One request of {ITEMS} items to {MODEL} at a time, REST; {ROUNDS} rounds of {CALLS} calls in turns"
    return figures.table(title, header, rows)


if __name__ == "__main__":
    sys.exit(main())
