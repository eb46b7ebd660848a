# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the load generator can send, what a request costs it, how true its latencies are, and what memory it takes.

All of it against the generator's own stub, as processes of this machine: the stub on one CPU, the client on another.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from support import figures, lab_models

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = ("grpc", "rest")
ROUNDS = 9
# The second lowest and the second highest of nine hold the true median between them with 96 % (binomial).
RANK = 1
LEAST_RATE = 4000  # requests/s a core, gRPC
MOST_ERROR = 0.01
MOST_MB = 150
# Stages in real time.
STAGE_RATE, STAGE_S, STAGES = 4000.0, 5.0, 3
# One stage in simulated time: 3.6 million requests.
SIMULATED_RATE, SIMULATED_S = 500.0, 7200
SHOWN_S = (60, 600, 3600, SIMULATED_S)
TIMEOUT_S = 1200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate", action="store_true", help="run the stage in simulated time here, and print JSON")
    options = parser.parse_args()
    importable()
    if options.simulate:
        print(json.dumps(dict(simulated())))
        return 0
    print(figures.machine(), flush=True)
    print(figures.takes("6 minutes"), flush=True)
    print(capacity())
    print(stages())
    print(errors())
    print(memory())
    return 0


def importable() -> None:
    sys.path.insert(0, str(ROOT / "collections"))
    sys.path.append(str(lab_models.RUNTIME))  # last: grpc comes from there


def part(name: str) -> ModuleType:
    return __import__(f"ansible_collections.tfserving.fleet.plugins.module_utils.load.{name}", fromlist=["_"])


def capacity() -> str:
    """Bursts: 32 requests in flight, the next one as soon as one is answered."""
    calibrate, stub = part("calibrate"), part("stub")
    rows = []
    for protocol in PROTOCOLS:
        with stub.Stub(calibrate.script(0.0), calibrate.cpus()[-1]) as server, calibrate.apart() as loop:
            found = [loop.run_until_complete(calibrate.burst(server, protocol)) for _ in range(ROUNDS)]
        rates = [rate for rate, _ in found]
        verdict = figures.verdict(figures.median(rates), at_least=LEAST_RATE) if protocol == "grpc" else ""
        rows.append((protocol, spread(rates), spread([cpu for _, cpu in found]), verdict))
    title = f"Bursts, one process on one CPU, bodies of about 60 bytes, {ROUNDS} rounds: median (min-max)"
    return figures.table(title, ("", "requests/s", "CPU us a request", "target (requests/s)"), rows)


def stages() -> str:
    """Open loop at the target's rate, as a benchmark runs it."""
    rows = []
    for protocol in PROTOCOLS:
        found = list(itertools.starmap(stage, [(protocol,)] * STAGES))
        rows.append(
            (
                protocol,
                spread([each["ok"] / STAGE_S for each in found]),
                " ".join(f"{each['late'] / each['offered']:.2%}" for each in found),
                " ".join(f"{each['cpu'][0]:.0%}" for each in found),
                sum(sum(each["errors"].values()) for each in found),
            )
        )
    title = (
        f"Open loop, Poisson arrivals, {STAGE_RATE:g} requests/s from one process for {STAGE_S:g} s, {STAGES} rounds"
    )
    return figures.table(title, ("", "answered/s", "sent over 1 ms late", "CPU", "errors"), rows)


def stage(protocol: str) -> dict:
    calibrate, stub, run = part("calibrate"), part("stub"), part("run")
    changes = {"rate": STAGE_RATE, "duration_s": STAGE_S, "warmup_s": 1.0, "arrivals": "poisson"}
    with (
        tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder,
        stub.Stub(calibrate.script(0.0), calibrate.cpus()[-1]) as server,
    ):
        spec = Path(folder) / "spec.json"
        spec.write_text(json.dumps(calibrate.stage(server, protocol, **changes)))
        if run.run(spec, Path(folder)) != run.DONE:
            raise SystemExit("the load generator failed; the figures would mean nothing")
        return json.loads((Path(folder) / "result.json").read_text())


def errors() -> str:
    """Latencies against delays that the stub measured."""
    calibrate, stub = part("calibrate"), part("stub")
    rows = []
    for protocol in PROTOCOLS:
        with stub.Stub(calibrate.script(0.0), calibrate.cpus()[-1]) as server, calibrate.apart() as loop:
            found = [calibrate.delays(loop, server, protocol) for _ in range(ROUNDS)]
        shares = sorted(each["error"] for each in found)
        shown = f"{figures.median(shares):.2%} ({shares[RANK]:.2%}-{shares[-1 - RANK]:.2%})"
        delay, overhead = (spread([each[key] for each in found]) for key in ("delay_us", "overhead_us"))
        rows.append((protocol, delay, overhead, shown, figures.verdict(figures.median(shares), at_most=MOST_ERROR)))
    title = (
        f"Error of the median latency against the stub's delay, {ROUNDS} rounds; error: median (96 % interval by "
        "rank), others: median (min-max)"
    )
    return figures.table(title, ("", "delay us", "overhead us", "error", "target (error)"), rows)


def memory() -> str:
    """The process of a long stage: engine, schedule, counts by the second, and the whole series beside them."""
    done = subprocess.run(
        [sys.executable, __file__, "--simulate"], stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S
    )
    found = json.loads(done.stdout)
    peak = found[str(SIMULATED_S)]
    rows = [(f"{second:,} s", f"{found[str(second)]:.1f}") for second in SHOWN_S]
    rows.append(("target", figures.verdict(peak, at_most=MOST_MB)))
    title = (
        f"Peak of memory in MB after so much of a stage of {SIMULATED_RATE:g} requests/s in simulated time, with grpc"
    )
    return figures.table(title, ("simulated", "MB"), rows)


def simulated() -> Iterator[tuple[int, float]]:
    """Run a stage on a clock of its own against replies of 1 to 100 ms, and yield the memory at some seconds."""
    engine, schedule, tally, worker = (part(name) for name in ("engine", "schedule", "tally", "worker"))
    part("grpc_calls").imported()
    now = [0.0]
    series, counted = tally.Series(), tally.Tally()
    share = schedule.Share("poisson", SIMULATED_RATE, SIMULATED_S, 1)
    made = engine.Engine(
        schedule.schedule(share, [1.0]), engine.Terms([None], [1], 0.0, 10.0, 20_000), counted, lambda: now[0], 0.0
    )
    waiting: list[tuple[float, int, object]] = []
    drawn = random.Random(1)
    made.send = lambda call: heapq.heappush(waiting, (now[0] + 0.001 * 100 ** drawn.random(), call.number, call))
    made.cancel = lambda call: None
    for second in range(1, SIMULATED_S + 1):
        _simulate(made, waiting, now, second)
        for (begun, _), count in counted.take():
            series.add(begun, count)
        series.see(second - 1, made.open)
        if second in SHOWN_S:
            yield second, worker.peak_mb()
    answered = sum(row["ok"] for row in series.rows()) + made.open
    if abs(answered / (SIMULATED_RATE * SIMULATED_S) - 1) > 0.01:
        raise SystemExit("the simulation lost requests; the figures would mean nothing")


def _simulate(engine, waiting: list, now: list[float], second: float) -> None:
    """Let time pass up to a second: what is due is sent, what has been answered ends."""
    while True:
        again = engine.advance()
        event = waiting[0][0] if waiting else second
        step = min(event, second if again is None else again)
        if step >= second:
            now[0] = second
            return
        now[0] = max(now[0], step)
        while waiting and waiting[0][0] <= now[0]:
            engine.finish(heapq.heappop(waiting)[2], None)


def spread(values: list[float]) -> str:
    return f"{figures.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


if __name__ == "__main__":
    sys.exit(main())
