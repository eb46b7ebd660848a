# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""p99 beside a noisy neighbour, with the CPU partition of the plan and without it, under cgroup v2 in the lab's VM.

Two CPUs, two reference servers with the plan's settings: one in system.slice, as a unit written by hand, the other one
in tfserving.slice. They take turns, one idle while the other is called, and with each turn the slices get the plan's
CPUs or all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import figures, guest, lab_models, local_load, placement, rest_load
from support.local_load import part
from support.placement import NEIGHBOUR, SERVERS, SIDES

# The lightest of the lab's models that computes: emulated, a request takes some tens of milliseconds.
MODEL = "ranker"
FOLDER = lab_models.SERVED / MODEL
# REST ports in the guest; the ones for gRPC are one below.
PORTS = {"partitioned": 8501, "default": 8601}
# Busy loops: as many as there are CPUs, as of a build or a compression that takes the host for its own, and twice as
# many, as of two of them.
LOOPS = (guest.CPUS, 2 * guest.CPUS)
SHARE = 0.3
# Eight pairs of 30 s.
SIDE_S = 240
ALONE_S = 60
# An emulated server beside busy loops may take seconds.
TIMEOUT_S = 30
TARGET = 4
# Closed loop for the most that a server carries: two requests for each CPU.
CONNECTIONS, CLOSED_S, MOST_CALLS = 2 * guest.CPUS, 20, 1_000_000
WARM_S = 15
# Importing the runtime takes two minutes on an emulated CPU, and two servers import it at the same time.
START_S = 900
# More of a guest's CPU taken by this machine than what a benchmark tolerates of a hypervisor (measure/validity.py).
STOLEN, SPOILT = 0.02, 0.1


@dataclass(frozen=True)
class Block:
    """A stage of requests (benchmark.load.Judged) and where it ran."""

    stage: Any
    server_cpu: float
    waited: float
    """The share of the time in which a CPU of the guest, the worse one, wanted to run and waited."""

    @property
    def invalid(self) -> str:
        """Why the block shows nothing, or an empty text."""
        if self.waited > SPOILT:
            return (
                f"a CPU of the guest waited for one of this machine for {self.waited:.0%} of the time it wanted to run"
            )
        return str(self.stage.outcome.why) if self.stage.outcome.verdict == "invalid" else ""

    @property
    def entry(self) -> dict[str, Any]:
        """The stage as a comparison takes it."""
        return {**self.stage.entry, **({"verdict": "invalid", "why": self.invalid} if self.invalid else {})}


Blocks = Sequence[tuple[str, Block]]
"""The side of each block, in the order in which they ran."""


@dataclass
class Bench:
    """The guest with its servers, and the load on them."""

    vm: guest.Guest
    partition: dict[str, Any]
    loads: dict[str, Any]
    rate: float = 0.0

    def place(self, side: str) -> None:
        """Give each slice its CPUs, and interrupts theirs, at once; what runs stays."""
        for name, cpus in placement.wanted(side, self.partition).items():
            value = cpus if side == "partitioned" else ""
            self.vm.run("systemctl", "set-property", "--runtime", name, f"AllowedCPUs={value}")
        parse, mask = part("module_utils.cpu_list").parse, part("plugin_utils.planner.partition").mask
        cpus = self.partition["irqs"]["cpus"] if side == "partitioned" else self.partition["cpus"]
        self.vm.ask("steer", cpus=cpus, mask=mask(parse(cpus)))

    def block(self, side: str, loops: int, seconds: int) -> Block:
        """Place, send, and refuse to go on if the kernel's files do not show what was to be shown."""
        self.place(side)
        before, waits = self._evidence(), self.vm.waits()
        with guest.right_of_way():
            stage = self.loads[side].stage(f"{side}, {loops} loops", self.rate, float(seconds), lambda: float(seconds))
        waited, after = share_waited(waits, self.vm.waits()), self._evidence()
        found = placement.complaints(side, self.partition, loops, before, after)
        if found:
            raise SystemExit(f"no figure: the block did not run {side}: {'; '.join(found)}")
        return Block(stage, placement.cpu_share(SERVERS[side], before, after), waited)

    def neighbour(self, loops: int) -> None:
        """Start so many busy loops, in place of those before."""
        if self._evidence()["units"][NEIGHBOUR]:
            self.vm.run("systemctl", "stop", NEIGHBOUR)
        if loops:
            busy = f"for n in $(seq {loops}); do while :; do :; done & done; wait"
            self.vm.run("systemd-run", f"--unit={NEIGHBOUR}", "--slice=system.slice", "sh", "-c", busy)

    def placed(self) -> str:
        """The plan's CPUs of each slice."""
        return ", ".join(f"{name} {cpus}" for name, cpus in placement.wanted("partitioned", self.partition).items())

    def weights(self) -> str:
        """Where the kernel shares CPU time by cgroup instead of by thread."""
        return ", ".join(self._evidence()["weights"]) or "nowhere"

    def _evidence(self) -> Any:
        slices = list(placement.wanted("default", self.partition))
        return self.vm.ask("evidence", slices=slices, units=[*SERVERS.values(), NEIGHBOUR])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SIDE_S, help="of each side (default: %(default)s)")
    parser.add_argument("--loops", type=int, action="append", help=f"busy loops (default: {LOOPS[0]} and {LOOPS[1]})")
    options = parser.parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("30 minutes"), flush=True)
    with guest.booted(FOLDER, list(PORTS.values())) as vm, local_load.team() as team:
        print(f"guest: {guest.CPUS} CPUs with {vm.accelerator}, on the CPUs {vm.cpus} of this machine", flush=True)
        plan = planned(vm)
        start(vm, plan)
        bench = Bench(vm, plan["partition"], {side: load(vm, side, team) for side in SIDES})
        print(f"plan, shown by the kernel before and after each block: {bench.placed()}", flush=True)
        print(carried(bench), flush=True)
        print(rows("alone", [(side, bench.block(side, 0, ALONE_S)) for side in SIDES]), flush=True)
        for loops in options.loops or LOOPS:
            bench.neighbour(loops)
            print(beside(bench, loops, options.seconds), flush=True)
    return 0


def planned(vm: guest.Guest) -> dict[str, Any]:
    """The plan of this guest, from what its kernel tells. A host of two cores is split because the policy says so."""
    made = local_load.context(MODEL, profile="latency")
    policy = {"paths": {"models": guest.MODELS}, "housekeeping": {"smallest_host_cores": guest.CPUS}}
    host_plan = part("plugin_utils.planner.plan").host_plan
    return host_plan(vm.ask("topology"), made.instances, made.models, policy, made.key)


def start(vm: guest.Guest, plan: dict[str, Any]) -> None:
    """Start both servers with the plan's settings, and return when they serve."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        flags = local_load.planned_flags(plan["instances"][0], Path(folder))
        for file in Path(folder).iterdir():
            vm.ask("put", path=str(file), text=file.read_text(encoding="utf-8"))
    variables = {"TFS_REFERENCE_LIB": guest.SERVER, "TFS_REFERENCE_RUNTIME": guest.RUNTIME}
    for side, port in PORTS.items():
        words = ["systemd-run", f"--unit={SERVERS[side]}", f"--slice={placement.SLICES[side]}"]
        words += [f"--setenv={name}={value}" for name, value in variables.items()]
        words += [f"{guest.SERVER}/bin/tensorflow_model_server", f"--port={port - 1}", f"--rest_api_port={port}"]
        vm.run(*words, *flags)
    for side, port in PORTS.items():
        local_load.tell(f"  waiting for the server, {side}")
        rest_load.wait(vm.ports[port], MODEL, START_S)


def load(vm: guest.Guest, side: str, team: Any) -> Any:
    rest = vm.ports[PORTS[side]]
    where = {**local_load.target(MODEL), "rest": rest, "grpc": rest, "metrics": None, "batched": False}
    return local_load.load(local_load.asked(MODEL, timeout=TIMEOUT_S), where, team)


def carried(bench: Bench) -> str:
    """Set the rate to 30 % of what the partitioned server carries alone; say what that is, for both."""
    found = {}
    for side in SIDES:
        bench.place(side)
        port = bench.vm.ports[PORTS[side]]
        closed(port, WARM_S)
        found[side] = closed(port, CLOSED_S)
    bench.rate = round(SHARE * found["partitioned"], 1)
    cpus = {side: placement.wanted(side, bench.partition)[placement.SLICES[side]] for side in SIDES}
    most = ", ".join(f"{found[side]:.1f} {side} (CPUs {cpus[side]})" for side in SIDES)
    return (
        f"alone a server carries, in requests/s of one item, closed loop: {most}; the load is "
        f"{SHARE:.0%} of the partitioned one: {bench.rate:g}\n"
        f"CPU time is shared by cgroup, not by thread, below: {bench.weights()}"
    )


def closed(port: int, seconds: int) -> float:
    """Requests a second over a few connections that send as soon as they have an answer."""
    words = [sys.executable, rest_load.__file__, f"--port={port}", f"--model={MODEL}"]
    words += [f"--connections={CONNECTIONS}", f"--count={MOST_CALLS}", f"--seconds={seconds}"]
    with guest.right_of_way():
        done = subprocess.run(words, capture_output=True, check=True, timeout=START_S)
    found = json.loads(done.stdout)
    return len(found["latencies"]) / found["wall"]


def beside(bench: Bench, loops: int, seconds: int) -> str:
    """Both sides in turns beside so many loops, and their comparison."""
    blocks = []
    for turn in part("plugin_utils.measure.turns").turns(seconds, seed=loops):
        side = SIDES["ab".index(turn.side)]
        blocks.append((side, bench.block(side, loops, turn.seconds)))
    return "\n".join([rows(f"beside {loops} busy loops", blocks), "", compared(blocks), *doubts(blocks)])


def rows(title: str, blocks: Blocks) -> str:
    header = ("", "p50 ms", "p99 ms (95 %)", "requests", "server's CPU", "guest's CPUs waited", "blocks", "invalid")
    return figures.table(title, header, [_row(side, [each for name, each in blocks if name == side]) for side in SIDES])


def compared(blocks: Blocks) -> str:
    """What the benchmark's own comparison says of default against partitioned."""
    measured = [("ab"[SIDES.index(side)], block.entry) for side, block in blocks]
    found = part("plugin_utils.measure.turns").compared(measured, SIDES)
    if not found.p99:
        return f"{' / '.join(SIDES)}: {found.verdict}: {found.reason}"
    met, surely = (figures.verdict(each, at_least=TARGET) for each in (found.p99.value, found.p99.low))
    return (
        f"{' / '.join(SIDES)}, 95 % interval: p99 {found.p99}, p50 {found.p50}; target for p99 {met}"
        f" ({surely.rpartition(' ')[2]} at the lower end of the interval)"
    )


def doubts(blocks: Blocks) -> list[str]:
    """What speaks against the figures, printed as they are."""
    why = [block.invalid for _side, block in blocks if block.invalid]
    said = [f"INVALID: {len(why)} of {len(blocks)} blocks, the first one because {why[0]}"] if why else []
    seconds, backlog = part("plugin_utils.measure.series").seconds, part("plugin_utils.measure.knee").backlog
    for side in SIDES:
        piled = [bool(backlog(seconds(block.stage.entry["result"]))) for name, block in blocks if name == side]
        if any(piled):
            said.append(
                f"remark: requests piled up in {sum(piled)} of {len(piled)} blocks ({side}): longer blocks would give "
                "a higher p99"
            )
    worst = max(block.waited for _side, block in blocks)
    if STOLEN < worst <= SPOILT:
        said.append(f"remark: a CPU of the guest waited for one of this machine up to {worst:.0%} of a block")
    return said


def share_waited(before: guest.Waits, after: guest.Waits) -> float:
    """How long a CPU of the guest waited to run, as a share of the time in which it wanted to; the worse CPU."""
    changes = [[b - a for a, b in zip(one, other)] for one, other in zip(before, after)]
    return max(waited / (ran + waited) if ran + waited else 0.0 for ran, waited in zip(*changes))


def _row(side: str, found: list[Block]) -> tuple[Any, ...]:
    histogram = part("module_utils.load.histogram").Histogram()
    for block in found:
        histogram.add(block.stage.histogram)
    missing = sum(sum(block.stage.entry["result"]["errors"].values()) for block in found)
    percentiles = part("plugin_utils.measure.statistics").percentiles(histogram, missing)
    p99 = percentiles.found.get("p99")
    high = f"{p99.high / 1000:.0f}" if p99 and p99.high else "?"
    shown = f"{p99.us / 1000:.0f} ({p99.low / 1000:.0f}-{high})" if p99 else "withheld"
    bad = sum(bool(block.invalid) for block in found)
    cpu = f"{figures.median([block.server_cpu for block in found]):.0%}"
    waited = f"{max(block.waited for block in found):.1%}"
    p50 = f"{histogram.quantile(0.5) / 1000:.0f}"
    return (side, p50, shown, histogram.total + missing, cpu, waited, len(found), bad)


if __name__ == "__main__":
    sys.exit(main())
