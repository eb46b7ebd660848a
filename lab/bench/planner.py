# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How long the plans of a large fleet take, and how much memory: 5,000 and 10,000 GPU servers in one process."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import figures

ROOT = Path(__file__).resolve().parents[2]
SIZES = (5_000, 10_000)
ROUNDS = 3
GPUS = 8
INSTANCES = 8
NODE_MB = 262_144
STEP_MB = 64  # what firmware keeps for itself differs from host to host by about this much
TIMEOUT_S = 600

SECONDS_TARGET = 15  # for the larger fleet
DOUBLING_TARGET = 2.2  # twice the hosts; linear is 2, the rest is for noise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleet", type=int, help="plan a fleet of this size here and print JSON")
    parser.add_argument("--keep", action="store_true", help="keep every plan until the end")
    options = parser.parse_args()
    if options.fleet is not None:
        print(json.dumps(plan_fleet(options.fleet, options.keep)))
        return 0
    print(figures.machine(), flush=True)
    print(figures.takes("4 minutes"), flush=True)
    # A process of its own for each figure: the peak of one would hide those of the next.
    kept = {size: [] for size in SIZES}
    for number in range(ROUNDS):
        for size in SIZES if number % 2 else reversed(SIZES):
            kept[size].append(measure(size, keep=True))
    dropped = {size: [measure(size, keep=False)] for size in SIZES}
    print(report(kept, dropped))
    return 0


def measure(size: int, keep: bool) -> dict[str, float]:
    """Plan a fleet in a process of its own, on one core; see plan_fleet."""
    core = max(os.sched_getaffinity(0))  # the last one: the first takes most interrupts
    command = [sys.executable, __file__, f"--fleet={size}", *(["--keep"] if keep else [])]
    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), *command], stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S
    )
    return json.loads(done.stdout)


def plan_fleet(size: int, keep: bool) -> dict[str, float]:
    """CPU and wall seconds spent in the planner for `size` hosts, and the peak of the process's memory in MiB."""
    host_plan, texts = _planner(), _fleet(size)
    wishes = [{"name": f"i{number}", "models": [f"m{number}"], "gpus": 1} for number in range(INSTANCES)]
    models = [_model(f"m{number}") for number in range(INSTANCES)]
    # The packages that apt installs know no GPU.
    image = f"registry.example/tensorflow/serving@sha256:{'0' * 64}"
    policy = {"install_method": "image", "releases": {"images": {"2.19.1": image}}}
    base = _peak_mib()
    plans: list[Any] = []
    cpu = wall = 0.0
    count = 0
    for text in texts:
        topology = json.loads(text)  # as it comes from a host: no object in it is shared with another host's
        before_cpu, before_wall = time.process_time(), time.perf_counter()
        plan = host_plan(topology, wishes, models, policy)
        cpu += time.process_time() - before_cpu
        wall += time.perf_counter() - before_wall
        count += len(plan["instances"]) == INSTANCES
        if keep:
            plans.append(plan)
    if count != size:
        raise SystemExit(f"{size - count} plans lack instances; the figures would mean nothing")
    return {"cpu": cpu, "wall": wall, "peak": _peak_mib(), "base": base}


def report(kept: dict[int, list[dict[str, float]]], dropped: dict[int, list[dict[str, float]]]) -> str:
    small, large = SIZES
    doubled = figures.paired([run["cpu"] for run in kept[large]], [run["cpu"] for run in kept[small]])
    cpu = {size: [run["cpu"] for run in kept[size]] for size in SIZES}
    rows = [
        (
            f"{size:,} hosts",
            figures.seconds(cpu[size]),
            figures.seconds([run["wall"] for run in kept[size]]),
            f"{figures.median([run['peak'] for run in kept[size]]):.0f}",
            f"{dropped[size][0]['peak']:.0f}",
            figures.verdict(figures.median(cpu[size]), at_most=SECONDS_TARGET) if size == large else "",
        )
        for size in SIZES
    ]
    target = figures.verdict(figures.median(doubled), at_most=DOUBLING_TARGET)
    rows.append(("twice the hosts, times", figures.compared(doubled), "", _times(kept), _times(dropped), target))
    title = (
        f"Plans of hosts with 2 sockets, 128 CPUs, {GPUS} GPUs, {INSTANCES} instances; one process on one core, "
        f"{ROUNDS} rounds: median (min-max)"
    )
    header = ("", "CPU s", "wall s", "peak MiB, plans kept", "peak MiB, plans dropped", "target (CPU s)")
    base = figures.median([run["base"] for run in kept[small]])
    note = f"The process alone takes {base:.0f} MiB. Reading a host's topology from JSON is not part of the time."
    return f"{figures.table(title, header, rows)}\n{note}"


def _times(runs: dict[int, list[dict[str, float]]]) -> str:
    small, large = (figures.median([run["peak"] for run in runs[size]]) for size in SIZES)
    return f"{large / small:.2f}"


def _planner() -> Any:
    sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "tests" / "unit" / "support")]
    from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan

    return host_plan


def _fleet(size: int) -> Iterator[str]:
    """The topologies of a fleet as JSON: all of one shape, none with the memory or the GPUs of another."""
    import machines

    gpus = [{"uuid": f"GPU-@-{index}", "memory_mb": 81_920, "node": index * 2 // GPUS} for index in range(GPUS)]
    shape = machines.topology(sockets=2, cores=32, smt=2, memory_mb=NODE_MB, gpus=gpus, nics=[{}])
    text = json.dumps(shape)
    for number in range(size):
        own = text.replace("GPU-@", f"GPU-{number:06d}")
        smaller = number * STEP_MB % 16_384
        yield own.replace(str(2 * NODE_MB), str(2 * (NODE_MB - smaller))).replace(str(NODE_MB), str(NODE_MB - smaller))


def _model(name: str) -> dict[str, Any]:
    source = {"type": "path", "uri": f"/srv/{name}/{{version}}"}
    return {"name": name, "source": source, "version": 7, "memory_mb": 4_000}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
