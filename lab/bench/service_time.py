# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How long a batch takes each of the lab's models for measuring: S(b) and the line a + c*b, on the runtime alone.

No server takes part: one session of the classic runtime on one core, with one intra-op and one inter-op thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any

from support import figures, lab_models

BATCHES = (1, 2, 4, 8, 16, 32, 64)
REQUEST_ITEMS = 700  # the large request of wide_ranker
MODELS = {"dense": BATCHES, "sequence": BATCHES, "simulated_device": BATCHES, "wide_ranker": (*BATCHES, REQUEST_ITEMS)}
ROUNDS = 5
CALLS = 15  # in each round, of which the median counts
TIMEOUT_S = 300

PAYS = 1 / 3  # of the time of a row alone: what a row costs dense in a batch of 32
NO_GAIN = 0.8  # the same for sequence: batches save at most a fifth, which is what a call costs besides
REQUEST_MS = (10, 50)
FIXED_MS = (5, 10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="measure this model here and print JSON")
    options = parser.parse_args()
    if options.model:
        print(json.dumps(measure(options.model, MODELS[options.model])))
        return 0
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes"), flush=True)
    found = {model: in_a_process(model) for model in MODELS}
    print(report(found))
    return 0


def in_a_process(model: str) -> dict[int, list[float]]:
    """Batch size -> milliseconds of each round, measured by a process of its own on one core."""
    core = max(os.sched_getaffinity(0))  # the last one: the first takes most interrupts
    command = ["taskset", "--cpu-list", str(core), sys.executable, __file__, f"--model={model}"]
    return {int(batch): rounds for batch, rounds in lab_models.answer_of(command, TIMEOUT_S).items()}


def measure(model: str, batches: tuple[int, ...]) -> dict[int, list[float]]:
    """The same, in this process. Rounds go through all sizes, so that a slow minute falls on all of them."""
    call = lab_models.loaded(lab_models.FOLDER / model / "1")
    requests = {batch: _request(model, batch) for batch in batches}
    for request in requests.values():  # the first calls find the memory that later ones use again
        call(request)
        call(request)
    rounds: dict[int, list[float]] = {batch: [] for batch in batches}
    for number in range(ROUNDS):
        for batch in batches if number % 2 else reversed(batches):
            rounds[batch].append(statistics.median(_milliseconds(call, requests[batch]) for _ in range(CALLS)))
    return rounds


def fit(rounds: dict[int, list[float]]) -> tuple[float, float]:
    """(a, c) of a + c*b in milliseconds: least squares of the relative errors, so that small batches count as much."""
    points = [(batch, statistics.median(times)) for batch, times in rounds.items()]
    weights = [1 / time_ms**2 for _, time_ms in points]
    total = sum(weights)
    mean_b = sum(weight * batch for weight, (batch, _) in zip(weights, points)) / total
    mean_s = sum(weight * time_ms for weight, (_, time_ms) in zip(weights, points)) / total
    spread = sum(weight * (batch - mean_b) ** 2 for weight, (batch, _) in zip(weights, points))
    slope = (
        sum(weight * (batch - mean_b) * (time_ms - mean_s) for weight, (batch, time_ms) in zip(weights, points))
        / spread
    )
    return mean_s - slope * mean_b, slope


def report(found: dict[str, dict[int, list[float]]]) -> str:
    rows = []
    for model, rounds in found.items():
        fixed, by_row = fit({batch: times for batch, times in rounds.items() if batch in BATCHES})
        times = [figures.seconds(rounds[batch]) for batch in BATCHES]
        rows.append((model, *times, f"{fixed:.2f} + {by_row:.3f} b", *judged(model, rounds, fixed)))
    title = (
        f"S(b) in ms on the runtime alone, one core, one intra-op and one inter-op thread; {ROUNDS} rounds of "
        f"{CALLS} calls: median of the rounds' medians (min-max)"
    )
    header = ("model", *(f"b = {batch}" for batch in BATCHES), "a + c b", "what it is for", "figure", "target")
    return figures.table(title, header, rows)


def judged(model: str, rounds: dict[int, list[float]], fixed: float) -> tuple[str, str, str]:
    """(what makes the model what it is, the figure, the verdict)"""
    if model == "wide_ranker":
        request = figures.median(rounds[REQUEST_ITEMS])
        return f"S({REQUEST_ITEMS}) ms", figures.seconds(rounds[REQUEST_ITEMS]), _between(request, REQUEST_MS)
    if model == "simulated_device":
        return "a ms", f"{fixed:.2f}", _between(fixed, FIXED_MS)
    shares = figures.paired([time_ms / 32 for time_ms in rounds[32]], rounds[1])
    share = figures.median(shares)
    verdict = figures.verdict(share, at_most=round(PAYS, 2)) if model == "dense" else None
    return "S(32)/32 / S(1)", figures.compared(shares), verdict or figures.verdict(share, at_least=NO_GAIN)


def _between(value: float, bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:g} to {high:g}: {'met' if low <= value <= high else 'missed'}"


def _request(model: str, rows: int) -> Any:
    lab_models.importable()
    import train_bench

    return train_bench.MODELS[model].sample(rows)


def _milliseconds(call: Any, request: Any) -> float:
    started = time.perf_counter()
    call(request)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
