# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a gateway adds to a call and what a core of it carries; how well it keeps a share; what the gates cost.

HAProxy of Debian 12 and 13 with the role's files, in front of one reference server with the real TensorFlow runtime,
all as processes of this machine. Calls go directly to the server and through each gateway, in turns.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from math import ceil, floor
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, lab_models, local_gateway, local_load, local_server
from support.local_load import part

MODEL, VERSION = "ranker", 2  # a server decodes nine inputs and computes little
LARGE_BYTES = 100_000
DIRECT = "direct"
SERIAL = {"gateway_grpc_mode": "serial_streams"}
THREADS = 256  # of the server for each protocol: a machine that stops for a moment makes calls wait, not fail
RATE, CONNECTIONS = 150.0, 4
# Calls at once, and how many times a second: what one call at a time on each connection holds back.
BURST, BURSTS = 16, 10.0
PERMILLES, CALLS, TOLERANCE = (50, 100, 500), 1000, 0.2
GATEWAYS, BACKENDS = 2, 3  # that poll the companion
TIMEOUT_S = 10.0
MOST_LATE = 0.05  # of the calls of a stage
WARM_CALLS = 50  # the first run of a graph takes longer than many later ones
NICE = -15  # the generator is the stopwatch: what it waits for a CPU would be counted as the gateway's
PADDING = 1999  # the number of a field that no message has: servers skip it


class Length(NamedTuple):
    """How long a run is: turns of A B .. B A, seconds of a stage and of its warm-up, rounds of calls by shares."""

    turns: int
    stage_s: float
    warmup_s: float
    rounds: int
    poll_s: float
    idle_s: float
    takes: str


FULL = Length(3, 2.0, 0.3, 3, 30.0, 10.0, "6 minutes")
QUICK = Length(1, 0.6, 0.3, 1, 4.0, 1.0, "1 minute; its figures only show that everything runs")


class Case(NamedTuple):
    protocol: str
    size: str  # small or large
    copies: int = 1

    @property
    def title(self) -> str:
        return f"{self.protocol}, {'100 KB' if self.size == 'large' else 'small'}"


CASES = [Case(protocol, size) for protocol in ("REST", "gRPC") for size in ("small", "large")]
BURSTY = Case("gRPC", "small", BURST)


class Sample(NamedTuple):
    """One stage: latencies in us, CPU us of the gateway for a call, calls that failed, sent late and in all."""

    p50: float
    p99: float
    micros: float
    failed: int
    late: int
    sent: int


class Side(NamedTuple):
    """Where calls go: ``gateway`` is None for the server itself, ``idle`` the share of a CPU that it takes unasked."""

    ports: dict[str, int]
    gateway: Any
    idle: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it runs")
    length = QUICK if parser.parse_args().quick else FULL
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes(length.takes), flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch), stack, length)
        with bench.sides() as sides:
            print(placed(sides), flush=True)
            found = bench.measure({name: sides[name] for name in (DIRECT, *_versions())}, CASES)
            print(added(found), flush=True)
            print(cores(found, {name: sides[name].idle for name in _versions()}), flush=True)
            at_once = bench.measure(sides, [BURSTY])
            print(bursts(at_once[BURSTY]), flush=True)
            print(trouble({**found, **at_once}), flush=True)
        print(shares(bench.shares()), flush=True)
        print(companion(*bench.polled(), length.poll_s))
    print(f"\ntook {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


class Bench:
    """The server with its gates, and what is measured on them."""

    def __init__(self, scratch: Path, stack: ExitStack, length: Length) -> None:
        self._scratch, self._length, self._number = scratch, length, 0
        self._cpu = local_gateway.cpu()
        flags = [
            local_server.write_config(scratch / "models.config", {MODEL: lab_models.SERVED / MODEL}),
            *local_server.ONE_THREAD,
            f"--rest_api_num_threads={THREADS}",
            f"--grpc_max_threads={THREADS}",
        ]
        self.server = stack.enter_context(local_server.running(scratch, *flags, cpu=local_load.server_cpu()))
        self._ports = local_load.ports(self.server)
        self._log = stack.enter_context(local_gateway.log(scratch / "log"))
        gate = self._folder("gate")
        self._companion = stack.enter_context(local_gateway.companion(gate, MODEL, self._ports, MODEL, VERSION))
        self._bodies = bodies()
        self._small = local_server.rest_request(MODEL, base64.b64decode(self._bodies["REST", "small"]))
        connection = local_server.RestConnection(self.server.rest_port)
        for _ in range(WARM_CALLS):
            connection.call(self._small)

    @contextmanager
    def sides(self) -> Iterator[dict[str, Side]]:
        """The server itself, and the gateways in front of it."""
        serial = f"{_versions()[-1]}, serial"
        with ExitStack() as stack:
            running = {
                name: stack.enter_context(self._gateway(package, 1, name, **settings))
                for name, package, settings in (
                    *((name, package, {}) for name, package in zip(_versions(), _packages())),
                    (serial, _packages()[-1], SERIAL),
                )
            }
            sides = {DIRECT: Side(self._ports, None, 0.0)}
            for name, gateway in running.items():
                before, began = gateway.cpu_seconds(), time.monotonic()
                time.sleep(self._length.idle_s)
                idle = (gateway.cpu_seconds() - before) / (time.monotonic() - began)
                sides[name] = Side({"rest": gateway.rest_port, "grpc": gateway.grpc_port}, gateway, idle)
            yield sides

    def measure(self, sides: dict[str, Side], cases: Sequence[Case]) -> dict[Case, dict[str, list[Sample]]]:
        """The samples of each case and side; all sides take turns, there and back."""
        found: dict[Case, dict[str, list[Sample]]] = {case: {name: [] for name in sides} for case in cases}
        for case in cases:
            for name in [*sides, *reversed(sides)] * self._length.turns:
                found[case][name].append(self._stage(case, sides[name]))
        return found

    def shares(self) -> dict[str, dict[int, list[int]]]:
        """How many calls in each round the canary got, by version and permille."""
        rollout = {MODEL: {"canary": ["gpu-3"], "control": ["gpu-4"], "permille": 0}}
        found: dict[str, dict[int, list[int]]] = {}
        for name, package in zip(_versions(), _packages()):
            with self._gateway(package, 4, f"{name}-share", rollouts=rollout) as gateway:
                connection = local_server.RestConnection(gateway.rest_port)
                found[name] = {
                    permille: [self._canary(gateway, connection, permille) for _ in range(self._length.rounds)]
                    for permille in PERMILLES
                }
        return found

    def polled(self) -> tuple[float, float, int, int]:
        """The companion's share of a CPU and its MiB, the questions it was asked, and those answered wrongly."""
        before, began = self._companion.cpu_seconds(), time.monotonic()
        asked, wrong = self._companion.poll(MODEL, GATEWAYS, BACKENDS, self._length.poll_s)
        share = (self._companion.cpu_seconds() - before) / (time.monotonic() - began)
        return share, self._companion.rss_mib(), asked, wrong

    def _gateway(self, package: str, hosts: int, name: str, **settings: Any) -> Any:
        import gateway_cases as cases

        instance = cases.instance(
            MODEL,
            ports=self._ports,
            versions=[VERSION],
            threads={"grpc": THREADS + 1, "rest": THREADS + 1},
            batching=None,
        )
        fleet = {
            f"gpu-{number}": cases.host(number, instance, gate_port=self._companion.port)
            for number in range(2, 2 + hosts)
        }
        own = name.replace(" ", "").replace(",", "-")
        folder = self._folder(own)
        return local_gateway.running(folder, package, fleet, self._log, self._cpu, own, **settings)

    def _canary(self, gateway: Any, connection: Any, permille: int) -> int:
        gateway.share(MODEL, permille)
        before = gateway.calls()
        for _ in range(CALLS):
            connection.call(self._small)
        after = gateway.calls()
        got = {backend: after[backend] - before[backend] for backend in after if backend.startswith("rest_")}
        if sum(got.values()) != CALLS:
            raise SystemExit(f"of {CALLS} calls HAProxy counted {got}")
        return got[f"rest_{MODEL}_canary"]

    def _stage(self, case: Case, side: Side) -> Sample:
        """One stage of the load generator."""
        length, run = self._length, part("module_utils.load.run")
        self._number += 1
        folder = self._folder(f"stage-{self._number}")
        (folder / "spec.json").write_text(json.dumps(self._spec(case, side)), encoding="utf-8")
        before, began = _cpu(side), time.monotonic()
        with _stopwatch(self._cpu):
            code = run.run(folder / "spec.json", folder)
        cpu = _cpu(side) - before - side.idle * (time.monotonic() - began)
        if code != run.DONE:
            raise SystemExit("the load generator failed; the figures would mean nothing")
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        histogram = part("module_utils.load.histogram").Histogram.from_json(found["histogram"])
        if not histogram.total:
            raise SystemExit(f"no call of {length.stage_s:g} s was answered: {found['errors']}")
        calls = found["all"]["sent"] * case.copies
        failed = sum(found["errors"].values())
        p50, p99 = histogram.quantile(0.5), histogram.quantile(0.99)
        return Sample(p50, p99, cpu / calls * 1e6, failed, found["late"], found["offered"])

    def _spec(self, case: Case, side: Side) -> dict[str, Any]:
        body = {case.protocol.lower(): self._bodies[case.protocol, case.size]}
        request = {
            "model": MODEL,
            "signature": "serving_default",
            "path": f"/v1/models/{MODEL}:predict",
            "weight": 1.0,
            "items": 1,
            "expect": None,
            "copies": case.copies,
            **body,
        }
        return {
            "schema": 1,
            "engine": "own",
            "protocol": case.protocol.lower(),
            "target": {"host": "127.0.0.1", **side.ports, "tls": None, "metrics": None},
            "requests": [request],
            "rate": BURSTS if case.copies > 1 else RATE,
            "arrivals": "poisson",
            "seed": self._number,
            "warmup_s": self._length.warmup_s,
            "duration_s": self._length.stage_s,
            "processes": 1,
            "connections": CONNECTIONS,
            "timeout_s": TIMEOUT_S,
            "start_in_s": 0.1,
        }

    def _folder(self, name: str) -> Path:
        folder = self._scratch / name
        folder.mkdir()
        return folder


# -- requests ----------------------------------------------------------------------------------------------------------


def bodies() -> dict[tuple[str, str], str]:
    """The request of one item in base64, by protocol and size. What fills the large ones up, a server skips."""
    known = json.loads((lab_models.SERVED / MODEL / "known_answers.json").read_text(encoding="utf-8"))
    item = known["request"]["instances"][0]
    rest = json.dumps({"instances": [item]}).encode()
    grpc = _predict(item)
    found = {
        ("REST", "small"): rest,
        ("REST", "large"): rest + b" " * (LARGE_BYTES - len(rest)),
        ("gRPC", "small"): grpc,
        ("gRPC", "large"): grpc + part("module_utils.load.messages").delimited(PADDING, bytes(LARGE_BYTES - len(grpc))),
    }
    return {key: base64.b64encode(body).decode() for key, body in found.items()}


def _predict(item: dict[str, Any]) -> bytes:
    messages = part("module_utils.load.messages")
    tensors = {}
    for name, value in item.items():
        numbers = value if isinstance(value, list) else [value]
        kind = "DT_INT64" if isinstance(numbers[0], int) else "DT_FLOAT"
        shape = (1, len(numbers)) if isinstance(value, list) else (1,)
        tensors[name] = messages.Tensor(kind, shape, numbers)
    return bytes(messages.encode_request(MODEL, "serving_default", tensors))


# -- reports -----------------------------------------------------------------------------------------------------------


def placed(sides: dict[str, Side]) -> str:
    """Which CPU has what, and the memory of a gateway."""
    server, gateway = local_load.server_cpu(), local_gateway.cpu()
    generator = ", ".join(map(str, sorted(_generator_cpus(gateway))))
    shared = " (SHARED: the gateway and its callers hold each other up)" if gateway in _generator_cpus(gateway) else ""
    memory = ", ".join(f"{name}: {side.gateway.rss_mib():.0f} MiB" for name, side in sides.items() if side.gateway)
    return f"server on CPU {server}, gateways on {gateway}, load generator on {generator}{shared}; {memory}"


def added(found: dict[Case, dict[str, list[Sample]]]) -> str:
    """What gateways add to a call, by pairs of stages."""
    rows = []
    for case, by_side in found.items():
        direct = by_side[DIRECT]
        for name, samples in by_side.items():
            row = [f"{case.title}, {name}"]
            for quantile in ("p50", "p99"):
                own = [getattr(sample, quantile) for sample in samples]
                row += [spread(own, 0), "" if name == DIRECT else spread(_more(samples, direct, quantile), 0)]
            rows.append(row)
    some = len(next(iter(found.values()))[DIRECT])
    title = (
        f"Latency in us at {RATE:g} calls/s (Poisson) over {CONNECTIONS} connections, {some} stages each, in turns; "
        "added: of the pairs of stages; median (min-max)"
    )
    return figures.table(title, ("", "p50", "added", "p99", "added"), rows)


def cores(found: dict[Case, dict[str, list[Sample]]], idle: dict[str, float]) -> str:
    """What a call costs a gateway."""
    rows = []
    for case, by_side in found.items():
        oldest = by_side[_versions()[0]]
        for name in _versions():
            micros = [sample.micros for sample in by_side[name]]
            ratios = figures.paired(micros, [sample.micros for sample in oldest])
            per_core = [1e6 / each for each in micros]
            shown = "" if by_side[name] is oldest else figures.compared(ratios)
            rows.append((f"{case.title}, {name}", spread(micros, 0), spread(per_core, 0), shown))
    unasked = ", ".join(f"{name}: {share:.1%}" for name, share in idle.items())
    title = (
        f"CPU us of HAProxy for a call at {RATE:g} calls/s, each logged, and calls/s a core at that price; without "
        f"what health checks take ({unasked} of a CPU); median (min-max). A gateway that has more to do at a time pays "
        "less for a call"
    )
    return figures.table(title, ("", "CPU us", "calls/s a core", f"/ {_versions()[0]}"), rows)


def bursts(by_side: dict[str, list[Sample]]) -> str:
    """One call at a time on each connection against many."""
    rows = []
    for name, samples in by_side.items():
        row = [_streams(name), *(spread([getattr(each, key) for each in samples], 0) for key in ("p50", "p99"))]
        if name == DIRECT:
            row += ["", "", ""]
        else:
            p50s, direct = ([each.p50 for each in some] for some in (samples, by_side[DIRECT]))
            row.append(figures.compared(figures.paired(p50s, direct)))
            micros = [each.micros for each in samples]
            row += [spread(micros, 0), spread([1e6 / each for each in micros], 0)]
        rows.append(row)
    title = (
        f"gRPC, small, {BURST} calls at once, {BURSTS:g} times a second (Poisson), over {CONNECTIONS} connections: us "
        f"until the last one is answered; {len(by_side[DIRECT])} stages each, in turns; median (min-max)"
    )
    return figures.table(title, ("", "p50", "p99", "p50 / direct", "CPU us a call", "calls/s a core"), rows)


def trouble(found: dict[Case, dict[str, list[Sample]]]) -> str:
    """What failed and what left late, over all stages; calls at once count as one."""
    samples = [each for by_side in found.values() for some in by_side.values() for each in some]
    sent, late, failed = (sum(getattr(each, key) for each in samples) for key in ("sent", "late", "failed"))
    disturbed = sum(each.late > MOST_LATE * each.sent for each in samples)
    return (
        f"\nof {sent} calls {failed} failed, and {late / sent:.1%} left more than 1 ms late (counted in latency); in "
        f"{disturbed} of {len(samples)} stages more than {MOST_LATE:.0%} did"
        + (", so the machine was in the way" if disturbed else "")
    )


def shares(found: dict[str, dict[int, list[int]]]) -> str:
    """How far the canary's share is off, and how far chance alone would let it be."""
    rows = []
    for name, by_permille in found.items():
        for permille, counts in by_permille.items():
            worst = max(abs(count / CALLS / (permille / 1000) - 1) for count in counts)
            low, high = by_chance(permille)
            verdict = figures.verdict(worst, at_most=TOLERANCE)
            shown = ", ".join(map(str, counts))
            rows.append((f"{name}, {permille}", shown, f"{worst:.1%}", f"{low}-{high}", verdict))
    title = (
        f"Calls of {CALLS:,} by REST that the canary got, round by round, and how far the worst round is off the "
        "share; by chance: 95 % of rounds lie there if the share is exact"
    )
    return figures.table(title, ("version, permille", "calls", "worst", "by chance", "target (worst)"), rows)


def by_chance(permille: int) -> tuple[int, int]:
    """The counts between which 95 % of rounds of exact draws lie."""
    share = permille / 1000
    deviation = 1.96 * (CALLS * share * (1 - share)) ** 0.5
    return ceil(CALLS * share - deviation), floor(CALLS * share + deviation)


def companion(share: float, mib: float, asked: int, wrong: int, seconds: float) -> str:
    rows = [
        ("of a CPU", f"{share:.2%}"),
        ("CPU us a question", f"{share * seconds / asked * 1e6:.0f}"),
        ("MiB", f"{mib:.1f}"),
    ]
    title = (
        f"The companion of the gates, polled for {seconds:g} s by {GATEWAYS} gateways with {BACKENDS} backends each "
        f"({asked} questions, {wrong} with another answer than open), its looks at the server included"
    )
    return figures.table(title, ("", "figure"), rows)


def spread(samples: Sequence[float], digits: int = 2) -> str:
    low, middle, high = min(samples), figures.median(samples), max(samples)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _more(samples: Sequence[Sample], direct: Sequence[Sample], quantile: str) -> list[float]:
    """The difference of each pair: both stages ran in the same turn."""
    return [getattr(own, quantile) - getattr(other, quantile) for own, other in zip(samples, direct)]


def _streams(name: str) -> str:
    """The side with how it carries gRPC."""
    if name == DIRECT or "serial" in name:
        return name
    return f"{name}, {'serial' if name == _versions()[0] else 'parallel'}"


def _packages() -> tuple[str, str]:
    import haproxies

    return haproxies.BOOKWORM, haproxies.TRIXIE


def _versions() -> list[str]:
    return [f"HAProxy {package.partition('-')[0]}" for package in _packages()]


def _cpu(side: Side) -> float:
    return float(side.gateway.cpu_seconds()) if side.gateway else 0.0


def _generator_cpus(gateway: int) -> set[int]:
    return local_load.client_cpus() - {gateway} or {gateway}


@contextmanager
def _stopwatch(gateway: int) -> Iterator[None]:
    """Processes that begin in the block have the generator's CPUs, before others where this account may."""
    cpus, usual = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, _generator_cpus(gateway))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)
        os.sched_setaffinity(0, cpus)


if __name__ == "__main__":
    sys.exit(main())
